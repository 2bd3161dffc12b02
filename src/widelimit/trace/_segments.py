"""Concatenations along the width: every operation acts part by part."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from widelimit.trace import _pointwise, _structural
from widelimit.trace._abstract import Concrete, Leaf, Refusal, Segmented, Sizes, dims
from widelimit.trace._contraction import Dims, product
from widelimit.trace._convolution import convolution
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import align, permuted
from widelimit.trace._modulated import at_once
from widelimit.trace._place import place
from widelimit.trace._reduction import summed

Dispatch = Callable[[Step, list[Any]], list[Any]]

_ELEMENTWISE = frozenset(
    [
        *_pointwise.UNARY,
        *_pointwise.NARY,
        "add",
        "add_any",
        "sub",
        "mul",
        "div",
        "neg",
        "convert_element_type",
        "copy",
        "square",
        "sqrt",
        "rsqrt",
    ]
)


def segmented(step: Step, operands: list[Any], dispatch: Dispatch) -> Any:
    if step.name in _ELEMENTWISE:
        return _part_by_part(step, operands, dispatch)
    rules = {
        "dot_general": _dot,
        "reduce_sum": _sum,
        "slice": _slice,
        "split": _split,
        "concatenate": _concatenate,
        "broadcast_in_dim": _broadcast,
        "transpose": _transpose,
        "conv_general_dilated": _convolve,
    }
    if step.name in rules:
        return rules[step.name](step, *operands)
    if step.name in ("reshape", "squeeze", "expand_dims"):
        return _reshape(step, *operands)
    if _is_beside(step, operands[0]):
        return dataclasses.replace(
            operands[0], parts=tuple(dispatch(step, [p, *operands[1:]])[0] for p in operands[0].parts)
        )
    raise Refusal(f"at {step.where}: `{step.name}` of a concatenation along the width has no rule")


def offsets(x: Segmented) -> list[Sizes]:
    ends = itertools.accumulate(x.lengths, lambda a, b: tuple(map(sum, zip(a, b, strict=True))))
    return [(0,) * len(x.lengths[0]), *ends]


def part_of(x: Any, dim: int, cut: tuple[Sizes, Sizes], where: str) -> Any:
    """The piece of an operand that meets one part: a slice, or the whole where it repeats."""
    start, limit = cut
    if isinstance(x, Concrete):
        if not x.shapes[0] or all(s[dim] == 1 for s in x.shapes):
            return x
        index = [(slice(None),) * dim + (slice(a, b),) for a, b in zip(start, limit, strict=True)]
        return Concrete(tuple(v[i] for v, i in zip(x.values, index, strict=True)))
    rank = len(x.sizes) if isinstance(x, Leaf) else len(x.layout)
    if rank == 0 or (set(x.sizes[dim]) == {1} if isinstance(x, Leaf) else not x.layout[dim]):
        return x
    return _structural.sliced(x, dim, start, limit, where=where)


def cuts(x: Segmented) -> list[tuple[Sizes, Sizes]]:
    edges = offsets(x)
    return list(itertools.pairwise(edges))


def _part_by_part(step: Step, operands: Sequence[Any], dispatch: Dispatch) -> Segmented:
    first = next(x for x in operands if isinstance(x, Segmented))
    others = [x for x in operands if isinstance(x, Segmented)]
    if any((x.dim, x.lengths) != (first.dim, first.lengths) for x in others):
        raise Refusal(f"at {step.where}: concatenations with different parts are combined")
    parts = []
    for i, cut in enumerate(cuts(first)):
        pieces = [x.parts[i] if isinstance(x, Segmented) else part_of(x, first.dim, cut, step.where) for x in operands]
        parts.append(at_once(dispatch(step, pieces)[0], step.where))
    return dataclasses.replace(first, parts=tuple(parts))


def _dot(step: Step, a: Any, b: Any) -> Any:
    (ca, cb), (ba, bb) = step.params["dimension_numbers"]
    dims = Dims((tuple(ca), tuple(cb)), (tuple(ba), tuple(bb)))
    side, x, other = (0, a, b) if isinstance(a, Segmented) else (1, b, a)
    if x.dim not in dims.contract[side]:
        raise Refusal(f"at {step.where}: a product that does not sum over the concatenated axis has no rule")
    there = dims.contract[1 - side][dims.contract[side].index(x.dim)]
    terms = []
    for i, (part, cut) in enumerate(zip(x.parts, cuts(x), strict=True)):
        piece = other.parts[i] if isinstance(other, Segmented) else part_of(other, there, cut, step.where)
        terms.append(product(*((part, piece) if side == 0 else (piece, part)), dims, step.where))
    return _total(terms, step.where)


def _convolve(step: Step, x: Any, kernel: Any) -> Any:
    """Σ over the parts, each with its rows of the filter: a convolution of what DenseNet and U-Net join."""
    numbers = step.params["dimension_numbers"]
    if not (isinstance(x, Segmented) and isinstance(kernel, Leaf)) or x.dim != numbers.lhs_spec[1]:
        raise Refusal(f"at {step.where}: a convolution that does not sum over the concatenated axis has no rule")
    if set(step.each("feature_group_count")) != {1}:
        raise Refusal(
            f"at {step.where}: a grouped convolution of a concatenation along the width has no rule; convolve its parts"
        )
    there = numbers.rhs_spec[1]
    pieces = [_structural.sliced(kernel, there, *cut, where=step.where) for cut in cuts(x)]
    return _total([convolution(step, p, w) for p, w in zip(x.parts, pieces, strict=True)], step.where)


def _is_beside(step: Step, x: Any) -> bool:
    """Whether a step slides, pads or reverses along other dimensions only."""
    if not isinstance(x, Segmented):
        return False
    match step.name:
        case "reduce_window_sum" | "reduce_window_max" | "reduce_window_min":
            return set(n[x.dim] for n in step.each("window_dimensions")) == {1}
        case "pad":
            return set(tuple(c[x.dim]) for c in step.each("padding_config")) == {(0, 0, 0)}
        case "rev":
            return x.dim not in step.params["dimensions"]
    return False


def _total(terms: list[Any], where: str) -> Any:
    aligned, layout = align([place(t, None, where) for t in terms], where)
    return _pointwise.total(aligned, layout, where)


def _sum(step: Step, x: Segmented) -> Any:
    dims = tuple(step.params["axes"])
    parts = [summed(place(p, None, step.where), dims, step.where) for p in x.parts]
    if x.dim in dims:
        return _total(parts, step.where)
    return dataclasses.replace(x, parts=tuple(parts), dim=x.dim - sum(d < x.dim for d in dims))


def _slice(step: Step, x: Segmented) -> Any:
    starts, limits = (dims(step.each(k)) for k in ("start_indices", "limit_indices"))
    if step.params["strides"] is not None and set(step.params["strides"]) != {1}:
        raise Refusal(f"at {step.where}: a strided slice of a concatenation along the width has no rule")
    parts, lengths = [], []
    for part, (a, b) in zip(x.parts, cuts(x), strict=True):
        for dim, (start, limit) in enumerate(zip(starts, limits, strict=True)):
            if dim != x.dim:
                part = _structural.sliced(part, dim, start, limit, where=step.where)
        piece = _overlap(part, x.dim, (a, b), (starts[x.dim], limits[x.dim]), step.where)
        if piece is not None:
            parts.append(piece[0])
            lengths.append(piece[1])
    return parts[0] if len(parts) == 1 else dataclasses.replace(x, parts=tuple(parts), lengths=tuple(lengths))


def _overlap(
    part: Any, dim: int, here: tuple[Sizes, Sizes], wanted: tuple[Sizes, Sizes], where: str
) -> tuple[Any, Sizes] | None:
    start = tuple(max(a, s) - a for a, s in zip(here[0], wanted[0], strict=True))
    limit = tuple(min(b, e) - a for a, b, e in zip(here[0], here[1], wanted[1], strict=True))
    length = tuple(e - s for s, e in zip(start, limit, strict=True))
    if all(n <= 0 for n in length):
        return None
    return _structural.sliced(place(part, None, where), dim, start, limit, where=where), length


def _split(step: Step, x: Segmented) -> list[Any]:
    dim, edges = int(step.params["axis"]), [[0, *itertools.accumulate(map(int, s))] for s in step.each("sizes")]
    bounds = list(zip(*edges, strict=True))
    out = []
    for start, limit in itertools.pairwise(bounds):
        if dim != x.dim:
            out.append(
                dataclasses.replace(
                    x, parts=tuple(_structural.sliced(p, dim, start, limit, where=step.where) for p in x.parts)
                )
            )
            continue
        pieces = [_overlap(p, dim, cut, (start, limit), step.where) for p, cut in zip(x.parts, cuts(x), strict=True)]
        pieces = [p for p in pieces if p is not None]
        out.append(
            pieces[0][0]
            if len(pieces) == 1
            else Segmented(tuple(p for p, _ in pieces), dim, tuple(n for _, n in pieces))
        )
    return out


def _concatenate(step: Step, *operands: Any) -> Any:
    dim = int(step.params["dimension"])
    lengths = [tuple(e.invars[i].aval.shape[dim] for e in step.eqns) for i in range(len(operands))]
    first = next(x for x in operands if isinstance(x, Segmented))
    if first.dim == dim:
        rows = [
            (p, n)
            for x, m in zip(operands, lengths, strict=True)
            for p, n in (zip(x.parts, x.lengths, strict=True) if isinstance(x, Segmented) else [(x, m)])
        ]
        return Segmented(tuple(p for p, _ in rows), dim, tuple(n for _, n in rows))
    return joined_segments(list(operands), dim, lengths, step.where)


def joined_segments(operands: list[Any], dim: int, lengths: list[Sizes], where: str) -> Segmented:
    """Join concatenations along another axis, part by part."""
    first = next(x for x in operands if isinstance(x, Segmented))
    total = tuple(map(sum, zip(*lengths, strict=True)))
    parts = []
    for i, cut in enumerate(cuts(first)):
        pieces = [x.parts[i] if isinstance(x, Segmented) else part_of(x, first.dim, cut, where) for x in operands]
        parts.append(_structural.joined(pieces, dim, lengths, total, where))
    return dataclasses.replace(first, parts=tuple(parts))


def _broadcast(step: Step, x: Segmented) -> Segmented:
    positions, target = step.params["broadcast_dimensions"], list(zip(*step.shapes(), strict=True))
    new_dim = positions[x.dim]
    parts = []
    for part, length in zip(x.parts, x.lengths, strict=True):
        placed = place(part, None, step.where)
        layout = [()] * len(target)
        for source, dim in enumerate(positions):
            layout[dim] = placed.layout[source]
        sizes = [length if d == new_dim else s for d, s in enumerate(target)]
        parts.append(_structural.repeated(dataclasses.replace(placed, layout=tuple(layout)), sizes, step.where))
    return Segmented(tuple(parts), new_dim, x.lengths)


def _transpose(step: Step, x: Segmented) -> Segmented:
    order = step.params["permutation"]
    parts = tuple(permuted(place(p, None, step.where), order, step.where) for p in x.parts)
    return Segmented(parts, list(order).index(x.dim), x.lengths)


def _reshape(step: Step, x: Segmented) -> Segmented:
    """Only dimensions of size one may come and go."""
    before = [s for s in zip(*(e.invars[0].aval.shape for e in step.eqns), strict=True)]
    after = list(zip(*step.shapes(), strict=True))
    if [s for s in before if set(s) != {1}] != [s for s in after if set(s) != {1}]:
        raise Refusal(f"at {step.where}: a reshape of a concatenation along the width has no rule")
    rank = sum(set(s) != {1} for s in before[: x.dim])
    dim = [d for d, s in enumerate(after) if set(s) != {1}][rank]
    parts = []
    for part, length in zip(x.parts, x.lengths, strict=True):
        sizes = [length if d == dim else s for d, s in enumerate(after)]
        parts.append(_structural.regroup(place(part, None, step.where), sizes, step.where))
    return Segmented(tuple(parts), dim, x.lengths)
