"""Primitives that have no rule for random values, each refused by name with its reason."""

from widelimit.trace._table import refuse

refuse(
    "a reduction by a function of one's own has no rule; maxima, minima, products and sums over positions, in windows or "
    "over whole axes, are read",
    "reduce reduce_window select_and_gather_add select_and_scatter select_and_scatter_add approx_top_k",
)
refuse(
    "it factorises or solves with a matrix of random entries; this is no Tensor Program (apply it to what the "
    "example determines alone, or replace it)",
    "cholesky eig eigh hessenberg householder_product lu qr schur svd triangular_solve tridiagonal tridiagonal_solve "
    "custom_linear_solve geqrf geqp3 ormqr symmetric_product lu_pivots_to_permutation",
)
refuse(
    "it makes or takes apart complex numbers, and random values must be real; write real and imaginary part as two real networks",
    "complex conj imag fft",
)
refuse(
    "it is a special function of several arguments without a rule for random values",
    "igamma igamma_grad_a igammac polygamma regularized_incomplete_beta zeta",
)
refuse(
    "it acts on the bits of numbers; random values are real numbers, whose bits have no law",
    "bitcast_convert_type clz mulhi population_count shift_left shift_right_arithmetic shift_right_logical threefry2x32 eq_to le_to lt_to",
)
refuse(
    "it communicates between devices; `apply` must be the network of one example on one device",
    "all_gather all_to_all axis_index pmax pmin ppermute ragged_all_to_all",
)
refuse("it reads or writes a mutable reference; `apply` must be a pure function of parameters and input", "get swap")
refuse("it orders side effects; `apply` must be a pure function of parameters and input", "after_all create_token")
refuse(
    "it is internal to JAX's transformations and is not expected in a network", "call custom_lin dce_sink empty2 stage"
)
refuse("it draws random numbers while the network is applied; apply the network in evaluation mode", "rng_uniform")
refuse("it counts along an axis whose length grows with the width, so its numbers are not iid coordinates", "iota")
