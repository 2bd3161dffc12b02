"""Two exact ways to the tangent kernel of a finite network.

Both return, for a function y of parameters and one example whose output is arranged as (F, R),

    Θ(x, x')_{fg} = (1/R) Σ_r Σ_W λ_W ⟨∂_W y_{fr}(x), ∂_W y_{gr}(x')⟩,        shape (N1, N2, F, G).

They are "Jacobian contraction" and "NTK-vector products" of Novak, Sohl-Dickstein, Schoenholz, Fast finite width neural
tangent kernel (2022), sections 3.2 and 3.3. Contraction is fast wherever the Jacobian fits; the products need no more
memory than one backward pass.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Function = Callable[[Mapping[str, Any], PyTree], Float[Array, "f r"]]
Rates = Mapping[str, float]
Kernel = Float[Array, "n1 n2 f1 f2"]


def contraction(function: Function, leaves: Mapping[str, Array], rates: Rates, x1: PyTree, x2: PyTree | None) -> Kernel:
    """Σ_W λ_W J_W(x1) J_W(x2)ᵀ from the Jacobians of all examples; memory N outputs P."""
    jacobians1 = jacobian(function, leaves, x1)
    jacobians2 = jacobians1 if x2 is None else jacobian(function, leaves, x2)
    return sum(rates[path] * _contract(jacobians1[path], jacobians2[path]) for path in leaves)


def jacobian(function: Function, leaves: Mapping[str, Array], x: PyTree) -> dict[str, Float[Array, "n f r ..."]]:
    """Derivatives of every output of every example with respect to each leaf."""
    return jax.vmap(jax.jacrev(function), (None, 0))(dict(leaves), x)


def _contract(j1: Float[Array, "n1 f r ..."], j2: Float[Array, "n2 g r ..."]) -> Kernel:
    replicas = j1.shape[2]
    flat1, flat2 = (j.reshape(*j.shape[:2], -1) for j in (j1, j2))
    return jnp.einsum("afz,bgz->abfg", flat1, flat2, precision="highest") / replicas


def products(function: Function, leaves: Mapping[str, Array], rates: Rates, x1: PyTree, x2: PyTree | None) -> Kernel:
    """One backward and one forward product for each output of each second example; memory that of one backward pass."""
    x2 = x1 if x2 is None else x2
    leaves = dict(leaves)
    finite, replicas = jax.eval_shape(function, leaves, jax.tree.map(lambda a: a[0], x2)).shape

    def column(example: PyTree, finite_index: Array, replica: Array) -> Float[Array, "n1 f"]:
        push = pushed(function, leaves, rates, example, (finite_index, replica))
        return jax.vmap(push)(x1)[..., replica]

    def row(example: PyTree) -> Float[Array, "g n1 f"]:
        return jax.lax.map(lambda g: _mean_over(replicas, partial(column, example, g)), jnp.arange(finite))

    return jnp.transpose(jax.lax.map(row, x2), (2, 0, 3, 1))


def pushed(function: Function, leaves: dict, rates: Rates, example: PyTree, output: tuple) -> Callable:
    """x ↦ J(x) Λ J(example)ᵀ e for the unit vector e of one output."""
    value, back = jax.vjp(lambda p: function(p, example), leaves)
    (gradient,) = back(jnp.zeros_like(value).at[output].set(1))
    direction = {path: rates[path] * g for path, g in gradient.items()}
    return lambda x: jax.jvp(lambda p: function(p, x), (leaves,), (direction,))[1]


def _mean_over(replicas: int, column: Callable[[Array], Array]) -> Array:
    return jnp.mean(jax.lax.map(column, jnp.arange(replicas)), axis=0)
