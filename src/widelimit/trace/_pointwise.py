"""Rules for what acts coordinate by coordinate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from widelimit import program as tp
from widelimit.trace._abstract import Det, Layout, Leaf, Refusal, ScalingRefusal, Wide, axes, finite_shape
from widelimit.trace._exponents import Exponents, Unsettled, growth, note_read, noted
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import align, drawn_from, random_numbers
from widelimit.trace._place import given, place, rescaled, scalar, zeros
from widelimit.trace._scale import Scale
from widelimit.trace._table import rule

_UNARY = (
    "abs acos acosh asin asinh atan atanh bessel_i0e bessel_i1e cbrt ceil cos cosh digamma erf erf_inv erfc "
    "exp exp2 expm1 floor integer_pow is_finite lgamma log log1p log2 logistic not one_minus_square polynomial "
    "real reduce_precision round rsqrt sign sin sinh sqrt square tan tanh"
)
_NARY = "add add_any and atan2 clamp div eq ge gt le lt max min mul ne nextafter or pow rem select_n sub xor"
UNARY, NARY = _UNARY.split(), _NARY.split()
_ENDLESS = 1e20


def aligned(step: Step, operands: Sequence[Any]) -> tuple[list[Det | Wide], Layout]:
    """All operands as deterministic or wide values on one layout (scalars are given the rank of the others)."""
    rank = len(step.shapes()[0])
    fixed = [x if isinstance(x, Leaf) else _ranked(place(x, None, step.where), rank) for x in operands]
    others = [x for x in fixed if not isinstance(x, Leaf)]
    like = None
    if others:
        _, like = align(others, step.where)
    return align([_ranked(place(x, like, step.where), rank) for x in fixed], step.where)


def _ranked(x: Det | Wide, rank: int) -> Det | Wide:
    return dataclasses.replace(x, layout=((),) * rank) if len(x.layout) != rank and not axes(x.layout) else x


def elementwise(step: Step) -> Callable[..., Any]:
    """The step as a function of broadcastable arrays in one floating dtype."""

    def fn(*arrays: Any) -> Any:
        return step.bind(*jnp.broadcast_arrays(*_one_dtype(arrays)))[0]

    return fn


def _one_dtype(arrays: Sequence[Any]) -> list[Any]:
    arrays = [jnp.asarray(a) for a in arrays]
    floats = [a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)]
    if not floats:
        return arrays
    dtype = jnp.result_type(*floats)
    return [a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in arrays]


def settled(x: Det | Wide, where: str) -> Det | Wide:
    """An operand of a nonlinearity: it must neither grow nor vanish with the width."""
    note_read(x)
    if x.exponent == 0:
        return x
    if (exponents := noted()) is not None:
        return _read_on(x, where, exponents)
    if x.exponent < 0 and _tends_to_zero(x):
        return _vanished(x)
    raise ScalingRefusal(_scaling_message(x, where))


def _tends_to_zero(x: Det | Wide) -> bool:
    """Of what shrinks with the width: means over it, and numbers that all its coordinates share (the logits of a gate)."""
    return isinstance(x, Det) or _fluctuates(x.value) or not any(a.wide for a in axes(x.layout))


def _vanished(x: Det | Wide) -> Det:
    """Zero at every position of a value."""
    return Det(tp.constant(np.zeros(finite_shape(x.layout))), x.layout)


def _read_on(x: Det | Wide, where: str, exponents: Exponents) -> Det | Wide:
    """The operand as if it were of order one, its own order noted."""
    vanishes = x.exponent < 0 and _tends_to_zero(x)
    if vanishes and not any(a.wide for a in axes(x.layout)) and isinstance(x, Wide):
        return _vanished(x)  # the logits of a gate: a number that would stay random if it were of order one
    if isinstance(x, Wide) and not vanishes:
        exponents.unsettled.append(Unsettled(where, x.value, x.exponent))
    return dataclasses.replace(x, exponent=Fraction(0))


def _fluctuates(value: tp.Value) -> bool:
    """Whether a value is linear in sums over the width whose means are zero."""
    linear = isinstance(value, tp.Image | tp.Scaled | tp.Sum)
    return all(map(_fluctuates, value.parts)) if linear else isinstance(value, tp.Fluctuation)


def _scaling_message(x: Det | Wide, where: str) -> str:
    a = x.exponent
    if isinstance(x, Det):
        return (
            f"at {where}: a sum over the width enters a nonlinearity scaled like n^{a} (to first order); it needs n^0. A sum of products "
            "of two wide vectors that is scaled by 1/√n (attention logits q·k/√d with a fixed number of heads) stays random in the limit, "
            "which is then not a Gaussian process. Two ways out: scale by 1/n (logits q·k/d), or let the number of "
            "heads grow with the width (`num_heads = width // 8`, say)."
        )
    verb, fate = ("grows", "diverges") if a > 0 else ("shrinks", "vanishes")
    where_from = x.value.where
    return (
        f"at {where}: a vector made at {where_from} {verb} like n^{a} with the width n: the limit {fate}. Its variance has the exponent "
        f"{2 * a}, and must have 0: multiply the product by n^({-a}) there, or change the variance of its weight's "
        f"initialisation by n^({-2 * a}). `wl.diagnose(net, example)` shows every exponent."
    )


def nonlinearity(
    fn: Callable[..., Any], name: str, operands: Sequence[Det | Wide], layout: Layout, where: str
) -> Det | Wide:
    """φ of values: known where all are, else a Nonlin of the program."""
    if noted() is not None:
        return _grown(fn, name, operands, layout, where)
    return _applied(fn, name, [settled(x, where) for x in operands], layout, where)


def _applied(
    fn: Callable[..., Any], name: str, operands: Sequence[Det | Wide], layout: Layout, where: str
) -> Det | Wide:
    shape = finite_shape(layout)
    if all(isinstance(x, Det) for x in operands):
        return Det(tp.apply(fn, shape, *(x.known for x in operands), name=name), layout)
    parts = tuple(x.value if isinstance(x, Wide) else x.known for x in operands)
    return Wide(tp.Pointwise(shape, where, fn, parts, name), layout)


def _grown(fn: Callable[..., Any], name: str, operands: Sequence[Det | Wide], layout: Layout, where: str) -> Det | Wide:
    """φ of values of any order: of the order that its power law gives. Where they vanish, φ is linear in them."""
    orders = [x.exponent for x in operands]
    order = growth(fn, orders, [finite_shape(x.layout) for x in operands])
    out = _applied(fn, name, [settled(x, where) for x in operands], layout, where)
    if any(orders):
        made = out.value if isinstance(out, Wide) else out.known
        noted().note_terms(made, [min(a - order, Fraction(0)) if a < 0 else Fraction(0) for a in orders])
    return dataclasses.replace(out, exponent=order)


@rule(*UNARY, *NARY)
def pointwise(step: Step, *operands: Any) -> Any:
    placed, layout = aligned(step, operands)
    return nonlinearity(elementwise(step), step.name, placed, layout, step.where)


# --- what stays linear ------------------------------------------------------------------------------------------------


@rule("add", "add_any")
def add(step: Step, *operands: Any) -> Any:
    placed, layout = aligned(step, operands)
    return total(placed, layout, step.where)


@rule("sub")
def sub(step: Step, x: Any, y: Any) -> Any:
    placed, layout = aligned(step, (x, y))
    return total([placed[0], times(placed[1], -1.0)], layout, step.where)


@rule("neg")
def neg(step: Step, x: Any) -> Any:
    return rescaled(x, Scale(-1.0)) if isinstance(x, Leaf) else times(place(x, None, step.where), -1.0)


@rule("copy", "copy_p", "reduce_precision", "optimization_barrier", "name", "sharding_constraint", "device_put")
def same(step: Step, *xs: Any) -> Any:
    return list(xs)


def total(operands: Sequence[Det | Wide], layout: Layout, where: str) -> Det | Wide:
    """Σ operands; what is of lower order in the width than another term drops out."""
    # A sum over the width of centred terms is zero to first order, but its order still counts: it is random at √n.
    counted = [x for x in operands if x.exponent > 0 or not _is_zero(x)] or operands
    top = max(x.exponent for x in counted)
    terms = [x for x in operands if (x.exponent == top or noted() is not None) and not _is_zero(x)]
    shape = finite_shape(layout)
    if not terms:
        return dataclasses.replace(zeros(layout), exponent=top)
    if all(isinstance(x, Det) for x in terms):
        if len(terms) == 1:
            return terms[0]
        return Det(tp.apply(_add_arrays, shape, *(x.known for x in terms), name="add"), layout, top)
    if len(terms) > 1 and any(map(_is_stopped, terms)):  # only together may it be the derivative of its value
        return nonlinearity(_add_arrays, "add", terms, layout, where)
    values = tuple(x.value if isinstance(x, Wide) else given(x, where) for x in terms)
    value = values[0] if len(values) == 1 else tp.Sum(shape, where, values)
    if (exponents := noted()) is not None:
        _note_terms(exponents, value, values, [x.exponent for x in terms])
    return Wide(value, layout, top)


def _note_terms(exponents: Exponents, value: tp.Value, values: Sequence[tp.Value], orders: Sequence[Fraction]) -> None:
    for part, order in zip(values, orders, strict=True):
        exponents.note_read(part, order)
    if len(values) > 1:
        exponents.note_terms(value, [order - max(orders) for order in orders])


def _add_arrays(*arrays: Any) -> Any:
    return sum(_one_dtype(arrays))


def _is_zero(x: Any) -> bool:
    return isinstance(x, Det) and tp.is_zero(x.known)


def times(x: Det | Wide, c: float) -> Det | Wide:
    factor = tp.constant(np.asarray(int(c) if c == int(c) else c))  # whole numbers of the example stay whole
    return multiply(x, Det(factor, ((),) * len(x.layout)), x.layout, "")


def multiply(x: Det | Wide, y: Det | Wide, layout: Layout, where: str) -> Det | Wide:
    """The product of two aligned values."""
    shape, exponent = finite_shape(layout), x.exponent + y.exponent
    if _is_zero(x) or _is_zero(y):
        zero = zeros(layout)
        return dataclasses.replace(zero, exponent=exponent)
    for a, b in ((x, y), (y, x)):
        if isinstance(b, Det) and _is_one(b.known):
            return dataclasses.replace(a, exponent=exponent)
    match x, y:
        case Det(), Det():
            return Det(tp.apply(_multiply_arrays, shape, x.known, y.known, name="mul"), layout, exponent)
        case Wide(), Wide():
            note_read(x, y)
            _check_numbers(x, y, where)
            return Wide(tp.Product(shape, where, (*_factors(x.value), *_factors(y.value))), layout, exponent)
        case Wide(), Det():
            return Wide(_scaled(y.known, x.value, where), layout, exponent)
    return Wide(_scaled(x.known, y.value, where), layout, exponent)


def _check_numbers(x: Wide, y: Wide, where: str) -> None:
    """Where neither has a width, a parameter multiplies what is random: the output, say, by a temperature."""
    for a, b in ((x, y), (y, x)):
        if not any(axis.copies for axis in axes(a.layout)) and drawn_from(a.value) and not drawn_from(b.value):
            raise Refusal(random_numbers(a, where))


def _is_one(known: tp.Known) -> bool:
    return isinstance(known, tp.Constant) and bool(np.all(known.value == 1))


def _scaled(known: tp.Known, h: tp.Value, where: str) -> tp.Value:
    if isinstance(h, tp.Given):
        return tp.Given(h.shape, h.where, tp.apply(_multiply_arrays, h.shape, known, h.known, name="mul"))
    if _is_one(known):
        return h
    return tp.Scaled(h.shape, where or h.where, known, h)


def _multiply_arrays(a: Any, b: Any) -> Any:
    a, b = _one_dtype((a, b))
    return a * b


def _factors(value: tp.Value) -> tuple[tp.Value, ...]:
    return value.factors if isinstance(value, tp.Product) else (value,)


@rule("mul")
def mul(step: Step, x: Any, y: Any) -> Any:
    for leaf, other in ((x, y), (y, x)):
        if isinstance(leaf, Leaf) and (factor := scalar(other)) is not None:
            return rescaled(leaf, factor)
    (a, b), layout = aligned(step, (x, y))
    return multiply(a, b, layout, step.where)


@rule("div")
def div(step: Step, x: Any, y: Any) -> Any:
    factor = scalar(y)
    if isinstance(x, Leaf) and factor is not None:
        return rescaled(x, factor**-1)
    (a, b), layout = aligned(step, (x, y))
    if isinstance(b, Wide) or not _is_float(step.dtype()):
        return nonlinearity(elementwise(step), "div", (a, b), layout, step.where)
    return multiply(a, inverse(b), layout, step.where)


def inverse(x: Det) -> Det:
    return Det(tp.apply(_invert, x.known.shape, x.known, name="reciprocal"), x.layout, -x.exponent)


def _invert(a: Any) -> Any:
    a = jnp.asarray(a)
    return 1 / (a if jnp.issubdtype(a.dtype, jnp.inexact) else a.astype(float))


@rule("square")
def square(step: Step, x: Any) -> Any:
    (a,), layout = aligned(step, (x,))
    return multiply(a, a, layout, step.where)


@rule("integer_pow")
def integer_pow(step: Step, x: Any) -> Any:
    return square(step, x) if step.params["y"] == 2 else _power_rule(step, x, Fraction(step.params["y"]))


@rule("sqrt")
def sqrt(step: Step, x: Any) -> Any:
    return _power_rule(step, x, Fraction(1, 2))


@rule("rsqrt")
def rsqrt(step: Step, x: Any) -> Any:
    return _power_rule(step, x, Fraction(-1, 2))


def _power_rule(step: Step, x: Any, power: Fraction) -> Any:
    """Powers carry the exponent of what the example determines."""
    (a,), layout = aligned(step, (x,))
    if isinstance(a, Wide):
        return nonlinearity(elementwise(step), step.name, (a,), layout, step.where)
    return Det(tp.apply(elementwise(step), a.known.shape, a.known, name=step.name), layout, a.exponent * power)


@rule("select_n")
def select_n(step: Step, which: Any, *cases: Any) -> Any:
    if (chosen := scalar(which)) is not None:  # one case everywhere: a guard such as `where(n > 0, var, nan)`
        return aligned(step, cases)[0][int(chosen.coefficient)]
    placed, layout = aligned(step, (which, *cases))
    if isinstance(placed[0], Wide) or all(isinstance(c, Det) for c in placed[1:]) or len(placed) != 3:
        return nonlinearity(elementwise(step), "select", placed, layout, step.where)
    mask = placed[0].known
    if any(map(_is_endless, placed[1:])):
        chosen = Det(tp.apply(lambda m: jnp.where(m, 1.0, 0.0), mask.shape, mask), layout)
        return nonlinearity(_mask, "mask", [chosen, *placed[1:]], layout, step.where)
    no = Det(tp.apply(lambda m: jnp.where(m, 0.0, 1.0), mask.shape, mask), layout)
    yes = Det(tp.apply(lambda m: jnp.where(m, 1.0, 0.0), mask.shape, mask), layout)
    masked = [multiply(x, m, layout, step.where) for x, m in zip(placed[1:], (no, yes), strict=True)]
    return total(masked, layout, step.where)


def _is_endless(x: Det | Wide) -> bool:
    """Whether a value stands for ±∞, which no linear function takes."""
    return isinstance(x, Det) and isinstance(x.known, tp.Constant) and not np.all(np.abs(x.known.value) < _ENDLESS)


def _mask(chosen: Any, no: Any, yes: Any) -> Any:
    return jnp.where(jnp.asarray(chosen) > 0, yes, no)


@rule("convert_element_type")
def convert(step: Step, x: Any) -> Any:
    new = step.params["new_dtype"]
    if isinstance(x, Leaf) or (_is_float(new) and _is_float(step.eqns[0].invars[0].aval.dtype)):
        return x
    placed = place(x, None, step.where)
    fn = (lambda a: jnp.asarray(a).astype(float)) if _is_float(new) else (lambda a: jnp.asarray(a).astype(new))
    return nonlinearity(fn, "convert", [placed], placed.layout, step.where)


def _is_float(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


@rule("stop_gradient")
def stop_gradient(step: Step, x: Any) -> Any:
    """Kept as a function of its own: whether it changes a derivative is seen when the chain it stands in is fused."""
    if isinstance(x, Leaf):
        raise Refusal(
            f"at {step.where}: `stop_gradient` of a parameter would change the tangent kernel. "
            "To freeze parameters, use `learning_rates={path: 0}`."
        )
    if not isinstance(x, Wide):
        return x
    unit = dataclasses.replace(x, exponent=Fraction(0))  # a homogeneous function: whatever scale x has, it keeps
    stopped = nonlinearity(lax.stop_gradient, "stop_gradient", [unit], x.layout, step.where)
    return dataclasses.replace(stopped, exponent=x.exponent)


def _is_stopped(x: Det | Wide) -> bool:
    """Whether a gradient was stopped in the nonlinear chain that a value ends."""
    return isinstance(x, Wide) and tp.is_stopped(x.value)
