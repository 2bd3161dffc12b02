"""A parameter times factors before it meets a vector: diag(a) W diag(b) h is a · (W (b · h)).

Weight normalisation divides a matrix by the norms of its rows and multiplies it by a gain; a readout may be written Σ v · h.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from widelimit.trace import _pointwise, _structural
from widelimit.trace._abstract import Concrete, Det, Leaf, Modulated, Wide
from widelimit.trace._contraction import Dims, product
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import align, permuted
from widelimit.trace._place import place, rescaled, scalar
from widelimit.trace._reduction import summed
from widelimit.trace._widths import traced_widths

Dispatch = Callable[[Step, list[Any]], list[Any]]
_ALIKE = (
    "transpose",
    "convert_element_type",
    "copy",
    "broadcast_in_dim",
    "reshape",
    "squeeze",
    "expand_dims",
)  # done to the parameter and to its factors


def modulated(step: Step, operands: list[Any], dispatch: Dispatch) -> Any | None:
    """The outputs of a step that makes or uses a parameter with factors; None for all other steps."""
    if step.name in ("mul", "div") and (made := _made(step, operands)) is not None:
        return made
    if not any(isinstance(x, Modulated) for x in operands):
        return None
    if step.name in _ALIKE and len(operands) == 1:
        leaf, *factors = (dispatch(step, [x])[0] for x in (operands[0].leaf, *operands[0].factors))
        return Modulated(leaf, tuple(factors))
    if step.name in ("dot_general", "conv_general_dilated", "reduce_sum"):
        used = {"dot_general": _dot, "conv_general_dilated": _conv, "reduce_sum": _sum}[step.name]
        if (found := used(step, operands, dispatch)) is not None:
            return found
    return dispatch(step, [at_once(x, step.where) for x in operands])


def at_once(x: Any, where: str) -> Any:
    """The product entry by entry, where no vector follows."""
    if not isinstance(x, Modulated):
        return x
    return functools.reduce(lambda a, b: _times(a, b, where), x.factors, x.leaf)


def _times(a: Any, b: Any, where: str) -> Any:
    _, like = align([place(x, None, where) for x in (a, b)], where)
    (a, b), layout = align([place(x, like, where) for x in (a, b)], where)
    return _pointwise.multiply(a, b, layout, where)


# --- what is made ---------------------------------------------------------------------------------------------------------


def _made(step: Step, operands: list[Any]) -> Any | None:
    x, y = _with_dimensions(*operands), _with_dimensions(*operands[::-1])
    if step.name == "div":
        return _divided(step, x, y)
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Modulated) and (number := scalar(other)) is not None:
            return dataclasses.replace(one, leaf=rescaled(one.leaf, number))
    for one, other in ((x, y), (y, x)):
        leaf = _leaf_of(one)
        if isinstance(leaf, Leaf) and _is_factor(other, leaf, step.where):
            return Modulated(leaf, (*(one.factors if isinstance(one, Modulated) else ()), other))
    return None


def _leaf_of(x: Any) -> Any:
    """A parameter without its factors."""
    return x.leaf if isinstance(x, Modulated) else x


def _with_dimensions(x: Any, other: Any) -> Any:
    """A number beside a parameter (a norm of the whole of it), as an array with the parameter's dimensions."""
    leaf = _leaf_of(other)
    if isinstance(x, Det) and not x.layout and isinstance(leaf, Leaf):
        return dataclasses.replace(x, layout=((),) * len(leaf.labels))
    return x


def _divided(step: Step, x: Any, y: Any) -> Any | None:
    leaf = _leaf_of(x)
    if (
        not isinstance(leaf, Leaf)
        or not isinstance(y, Det)
        or scalar(y) is not None
        or not _is_factor(y, leaf, step.where)
    ):
        return Modulated(rescaled(leaf, scalar(y) ** -1), x.factors) if isinstance(x, Modulated) and scalar(y) else None
    return Modulated(leaf, (*(x.factors if isinstance(x, Modulated) else ()), _pointwise.inverse(y)))


def _is_factor(x: Any, leaf: Leaf, where: str) -> bool:
    """Whether x varies along fewer axes than the matrix it multiplies, or is a vector that the parameter may be read out with."""
    if not isinstance(x, Leaf | Det | Concrete | Wide) or scalar(x) is not None or _rank(x) != _rank(leaf):
        return False
    if isinstance(x, Wide):
        return bool(_named(leaf)) and not leaf.parameter.mean.coefficient
    return set(varying(x, where)) < set(_named(leaf))


def _rank(x: Any) -> int:
    """A number of the example may stand beside an array as it is, without the array's dimensions."""
    match x:
        case Leaf():
            return len(x.labels)
        case Concrete():
            return len(x.shapes[0])
    return len(x.layout)


def _named(leaf: Leaf) -> list[int]:
    return [d for d, labels in enumerate(leaf.labels) if labels]


def varying(x: Any, where: str) -> list[int]:
    """The dimensions along which an operand is not constant."""
    if isinstance(x, Leaf):
        return _named(x)
    if isinstance(x, Wide):
        return [d for d, dim in enumerate(x.layout) if dim]
    layout = (place(x, None, where) if isinstance(x, Concrete) else x).layout
    return [d for d, dim in enumerate(layout) if any(not a.copies for a in dim)]


# --- what is used ---------------------------------------------------------------------------------------------------------


def _dot(step: Step, operands: list[Any], dispatch: Dispatch) -> Any | None:
    (ca, cb), (ba, bb) = step.params["dimension_numbers"]
    dims = Dims((tuple(ca), tuple(cb)), (tuple(ba), tuple(bb)))
    side = 0 if isinstance(operands[0], Modulated) else 1
    weight, x = operands[side], operands[1 - side]
    if isinstance(x, Modulated) or _are_random(weight.factors):
        return None
    free = dims.free(side, len(weight.leaf.sizes))
    inner, outer = dims.contract[side], (*dims.batch[side], *free)
    before = [f for f in weight.factors if set(varying(f, step.where)) <= set(inner)]
    after = [f for f in weight.factors if f not in before]
    if not all(set(varying(f, step.where)) <= set(outer) for f in after):
        return None
    rank_x = len(step.eqns[0].invars[1 - side].aval.shape)
    into_x = dict(zip(inner, dims.contract[1 - side], strict=True))
    for f in before:
        x = _times(x, _spread(f, into_x, rank_x, step.where), step.where)
    result = dispatch(step, [weight.leaf, x] if side == 0 else [x, weight.leaf])[0]
    lead, others = len(dims.batch[0]), len(dims.free(1 - side, rank_x))
    at = {d: i for i, d in enumerate(dims.batch[side])}
    at |= {d: lead + i + (others if side else 0) for i, d in enumerate(free)}
    for f in after:
        result = _times(result, _spread(f, at, len(step.shapes()[0]), step.where), step.where)
    return result


def _are_random(factors: Sequence[Any]) -> bool:
    """Whether a factor is computed from random values, the parameter itself perhaps (the norm of few entries)."""
    return any(isinstance(f, Wide) for f in factors)


def _conv(step: Step, operands: list[Any], dispatch: Dispatch) -> Any | None:
    x, kernel = operands
    numbers = step.params["dimension_numbers"]
    at = {numbers.rhs_spec[0]: numbers.out_spec[1]}
    if (
        isinstance(x, Modulated)
        or _are_random(kernel.factors)
        or not all(set(varying(f, step.where)) <= set(at) for f in kernel.factors)
    ):
        return None
    result = dispatch(step, [x, kernel.leaf])[0]
    for f in kernel.factors:
        result = _times(result, _spread(f, at, len(step.shapes()[0]), step.where), step.where)
    return result


def _spread(x: Any, at: dict[int, int], rank: int, where: str) -> Any:
    """A factor in an array of another rank: its dimension d lies at `at[d]`, and it is constant along all others."""
    x = x if isinstance(x, Leaf) else place(x, None, where)
    kept = varying(x, where)
    for d in reversed(range(len(x.sizes) if isinstance(x, Leaf) else len(x.layout))):
        x = x if d in kept else _structural.drop_dim(x, d)
    targets = [at[d] for d in kept]
    order = sorted(range(len(kept)), key=lambda i: targets[i])
    if isinstance(x, Leaf):
        x = dataclasses.replace(x, labels=tuple(x.labels[i] for i in order), sizes=tuple(x.sizes[i] for i in order))
    else:
        x = permuted(x, order, where)
    for d in range(rank):
        x = x if d in targets else _structural.add_dim(x, d, len(traced_widths()))
    return x


def _sum(step: Step, operands: list[Any], dispatch: Dispatch) -> Any | None:
    """Σ v · h over a wide axis is a product with the weight v."""
    (x,) = operands
    vectors = [f for f in x.factors if isinstance(f, Wide)]
    if not vectors:
        return None
    dims = tuple(step.params["axes"])
    h = functools.reduce(lambda a, b: _times(a, b, step.where), x.factors)
    if not isinstance(h, Wide) or not any(a.wide for d in dims for a in h.layout[d] if d in _named(x.leaf)):
        return None
    bare = tuple(d for d in dims if d not in _named(x.leaf))
    h = summed(h, bare, step.where) if bare else h
    return _read_out(x.leaf, h, dims, bare, step.where)


def _read_out(leaf: Leaf, h: Any, dims: tuple[int, ...], bare: tuple[int, ...], where: str) -> Any:
    kept = [d for d in range(len(leaf.sizes)) if d not in bare]
    for d in reversed(bare):
        leaf = _structural.drop_dim(leaf, d)
    mine = _named(leaf)
    contract = [i for i, d in enumerate(kept) if d in dims]
    batch = [i for i, d in enumerate(kept) if d not in dims and i in mine and h.layout[i]]
    only_leaf = [i for i, d in enumerate(kept) if d not in dims and i in mine and not h.layout[i]]
    rest = [i for i in range(len(kept)) if i not in (*contract, *batch, *only_leaf)]
    for i in reversed(rest):
        leaf = _structural.drop_dim(leaf, i)
    for i in reversed(only_leaf):
        h = _structural.drop_dim(h, i)
    in_leaf, in_h = [i for i in range(len(kept)) if i not in rest], [i for i in range(len(kept)) if i not in only_leaf]
    found = product(
        leaf,
        h,
        Dims(
            (tuple(in_leaf.index(i) for i in contract), tuple(in_h.index(i) for i in contract)),
            (tuple(in_leaf.index(i) for i in batch), tuple(in_h.index(i) for i in batch)),
        ),
        where,
    )
    order = [*batch, *only_leaf, *rest]
    return permuted(found, [order.index(i) for i in sorted(order)], where)
