"""From a network and an example to its Tensor Program."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit import program as tp
from widelimit._threads import one_blas_thread
from widelimit.trace._abstract import (
    Concrete,
    Det,
    Leaf,
    Parameter,
    Randomness,
    Refusal,
    ScalingRefusal,
    Segmented,
    Sizes,
    Wide,
    dims,
    finite_shape,
    plain,
)
from widelimit.trace._dispatch import read_program
from widelimit.trace._exponents import Exponents, noted, noting
from widelimit.trace._jaxpr import trace
from widelimit.trace._laws import Law, laws
from widelimit.trace._layout import single_axis
from widelimit.trace._place import place_leaf
from widelimit.trace._scale import Scale, fit
from widelimit.trace._transposed import check_sharing
from widelimit.trace._widths import traced_widths, tracing

Rate = str | int | float | Callable[[int], int | float]
Rates = Rate | Mapping[str, Rate]
DEFAULT_WIDTHS = (192, 384, 576)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """A network as read: its output, its parameters, and what its inputs look like."""

    output: tp.Value
    replica_axes: tuple[int, ...]
    parameters: dict[str, Parameter]
    shapes: dict[str, tuple[Sizes, ...]]
    laws: dict[str, Law]
    rates: dict[str, Scale]
    inputs: tuple[jax.ShapeDtypeStruct, ...]
    structure: Any
    widths: tuple[int, ...]


def read(network: Any, example: Any, learning_rates: Rates, widths: Sequence[int] | None) -> Reading:
    """Trace the network at the widths and read the traces in step."""
    with tracing(checked_widths(widths)), one_blas_thread():
        return _read(network, _example_shapes(example), learning_rates)


def read_exponents(
    network: Any, example: Any, learning_rates: Rates, widths: Sequence[int] | None
) -> tuple[Reading, Exponents]:
    """Read the network whatever its scaling, and note how everything grows with the width."""
    with noting() as exponents:
        return read(network, example, learning_rates, widths), exponents


def _read(network: Any, example: tuple[list[jax.ShapeDtypeStruct], Any], learning_rates: Rates) -> Reading:
    widths, (shapes, structure) = traced_widths(), example
    initial = [_traced_init(network, w) for w in widths]
    paths = _paths(initial[0][1])
    _check_growth(initial, widths)
    found = laws(
        [body for body, _ in initial],
        paths,
        widths,
        declared=network.laws,
        untrained=lambda p: not network.is_trainable(p),
    )
    rates = _rates(found, learning_rates, network)
    parameters = {p: parameter(p, found[p], rates[p]) for p in found}
    leaves = list(zip(*(jax.tree_util.tree_leaves(params) for _, params in initial), strict=True))
    shapes_of = {p: tuple(dims([a.shape for a in leaf])) for p, leaf in zip(paths, leaves, strict=True)}
    values = [_parameter_value(p, leaf, found.get(p), parameters.get(p)) for p, leaf in zip(paths, leaves, strict=True)]
    traced = [trace(network.apply, params, jax.tree_util.tree_unflatten(structure, shapes)) for _, params in initial]
    _check_output(traced[0][1])
    (output,) = read_program([body for body, _ in traced], [*values, *map(_input_value, range(len(shapes)), shapes)])
    value, replicas = _finished(output)
    tp.pass_in_moments(value)
    if noted() is None:
        check_sharing(value, parameters)
    return Reading(value, replicas, parameters, shapes_of, found, rates, tuple(shapes), structure, widths)


def checked_widths(widths: Sequence[int] | None) -> tuple[int, ...]:
    widths = DEFAULT_WIDTHS if widths is None else tuple(int(w) for w in widths)
    if len(widths) < 3 or any(a >= b for a, b in itertools.pairwise(widths)) or widths[0] < 2:
        raise ValueError(
            f"`wl.limit(..., widths={widths})`: expected at least three increasing widths to read the scaling from, "
            f"such as {DEFAULT_WIDTHS}"
        )
    return widths


def _example_shapes(example: Any) -> tuple[list[jax.ShapeDtypeStruct], Any]:
    if isinstance(example, tuple) and example and all(isinstance(s, int) for s in example):
        example = jax.ShapeDtypeStruct(example, jnp.result_type(float))
    leaves, structure = jax.tree_util.tree_flatten(example)
    if not leaves:
        raise ValueError(
            "`wl.limit(net, example)`: the example holds no array; give one input, as `apply(params, x)` takes it"
        )
    return [_struct(leaf) for leaf in leaves], structure


def _struct(leaf: Any) -> jax.ShapeDtypeStruct:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    if leaf.dtype.kind not in "fiub" and not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise ValueError(
            f"`wl.limit(net, example)`: the example has dtype {leaf.dtype}; expected real numbers (floats, or integers for indices)"
        )
    return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype))


def _traced_init(network: Any, width: int) -> tuple[Any, Any]:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return trace(lambda k: network.init(k, width), key)


def _check_growth(initial: Sequence[tuple[Any, Any]], widths: tuple[int, ...]) -> None:
    shapes = [[leaf.shape for leaf in jax.tree_util.tree_leaves(params)] for _, params in initial]
    if all(s == shapes[0] for s in shapes):
        raise Refusal(
            f"`init(key, width)` returns parameters of the same shapes at the widths {widths}: no axis of the "
            "network grows with the width. "
            "Use `width` for the sizes of the hidden layers."
        )


def _paths(params: Any) -> list[str]:
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in flat]


# --- learning rates ---------------------------------------------------------------------------------------------------


def _rates(found: Mapping[str, Law], given: Rates, network: Any) -> dict[str, Scale]:
    """Each parameter's learning rate, as the code holds the parameter."""
    table = given if isinstance(given, Mapping) else dict.fromkeys(found, given)
    for path in table:
        if path not in found:
            close = difflib.get_close_matches(path, found, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; the parameters are {sorted(found)}"
            raise ValueError(f"`wl.limit(..., learning_rates=...)`: there is no parameter {path!r}{hint}")
    return {
        p: _rate(p, law, table.get(p, "ntk")) if network.is_trainable(p) else Scale(0.0) for p, law in found.items()
    }


def _rate(path: str, law: Law, rate: Rate) -> Scale:
    if callable(rate):
        return fit([float(rate(n)) for n in traced_widths()], traced_widths())
    if isinstance(rate, str):
        if rate != "ntk":
            raise ValueError(f'`wl.limit(..., learning_rates=...)`: {path!r} has {rate!r}; expected "ntk" or a number')
        return law.variance
    if not np.isfinite(rate) or rate < 0:
        raise ValueError(
            f"`wl.limit(..., learning_rates=...)`: {path!r} has the rate {rate}; expected a finite number that is not negative"
        )
    return Scale(float(rate))


def parameter(path: str, law: Law, rate: Scale) -> Parameter:
    """Variance and rate in common units n^exponent: the one of lower order is 0."""
    orders = [s.exponent for s in (law.variance, rate) if s.coefficient]
    if noted() is not None:  # the order at initialisation; that of what is trained is told by the rate
        return Parameter(
            path, law.kind, law.mean, law.variance.coefficient, rate.coefficient, [*orders, Fraction(0)][0]
        )
    exponent = max(orders, default=Fraction(0))

    def in_units(s: Scale) -> float:
        return s.coefficient if s.coefficient and s.exponent == exponent else 0.0

    return Parameter(path, law.kind, law.mean, in_units(law.variance), in_units(rate), exponent)


# --- inputs and output ------------------------------------------------------------------------------------------------


def _parameter_value(path: str, leaves: Sequence[Any], law: Law | None, known: Parameter | None) -> Any:
    shapes = [leaf.shape for leaf in leaves]
    if law is None or known is None:
        return Randomness()
    if law.kind == "fixed":
        return Concrete(law.values)
    if law.kind == "constant" and not known.rate:
        return Concrete(
            tuple(
                np.broadcast_to(np.asarray(law.mean.at(w), leaves[0].dtype), s)
                for w, s in zip(traced_widths(), shapes, strict=True)
            )
        )
    sizes = tuple(zip(*shapes, strict=True))
    labels = tuple(() if set(s) == {1} else ((path, d),) for d, s in enumerate(sizes))
    return Leaf(known, labels, sizes, Scale(1.0))


def _input_value(index: int, struct: jax.ShapeDtypeStruct) -> Det | Randomness:
    if jax.dtypes.issubdtype(struct.dtype, jax.dtypes.prng_key):
        return Randomness()
    layout = plain([struct.shape] * len(traced_widths()))
    return Det(tp.Input(finite_shape(layout), index), layout)


def _check_output(out: Any) -> None:
    leaves = jax.tree_util.tree_leaves(out)
    if len(leaves) != 1:
        raise Refusal(
            f"`apply(params, x)` returns {len(leaves)} arrays; the limit is of one output. Return the one you want "
            "(`call=` of the adapters, or a lambda)."
        )


def _finished(output: Any) -> tuple[tp.Value, tuple[int, ...]]:
    """The output must be Gaussian, of order one, with finite axes and replicas."""
    if isinstance(output, Leaf):
        output = place_leaf(output, None, "the output")
    if isinstance(output, Segmented):
        raise Refusal(
            "the network's output is a concatenation of parts with different laws; return one of them, or pass them "
            "through a last dense layer"
        )
    if not isinstance(output, Wide):
        raise Refusal(
            "the network's output is deterministic in the limit: it has no random last layer, or averages over the width (trivial limit). "
            "Is there an axis that scales with the width, and a readout `... @ w_out` at the end?"
        )
    if (exponents := noted()) is not None:
        exponents.note_read(output.value, output.exponent)
        exponents.output = output.exponent
        return output.value, ()
    if output.exponent != 0:
        raise ScalingRefusal(_output_scaling(output))
    if not output.value.is_gaussian:
        raise Refusal(
            f"the network's output is a nonlinear function of Gaussians (made at {output.value.where}): not a Gaussian process. "
            "End the network with a readout layer, and return its output before any softmax or other nonlinearity."
        )
    replicas = tuple(d for d, dim in enumerate(output.layout) if not dim or any(a.copies for a in dim))
    return _in_output_order(output), replicas


def _output_scaling(output: Wide) -> str:
    a = output.exponent
    fate = "diverges" if a > 0 else "vanishes"
    return (
        f"the network's output scales like n^{a} with the width n: its limit {fate}. The product at "
        f"{output.value.where} has a variance of exponent "
        f"{2 * a}, and needs 0: change its scale by n^({-a}), or the variance of its weight's initialisation by n^({-2 * a}). "
        "`wl.diagnose(net, example)` shows every exponent."
    )


def _in_output_order(output: Wide) -> tp.Value:
    """Merged axes of one dimension become one."""
    for d, dim in enumerate(output.layout):
        if len(dim) > 1 and not any(a.copies for a in dim):
            output = single_axis(output, d, "the output")
    return output.value
