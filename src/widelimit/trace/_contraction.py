"""Rules for products: weights with values (MatMul), values with values (Moment), known matrices with values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Det, Layout, Leaf, Refusal, Wide, axes, finite_axes, finite_shape
from widelimit.trace._exponents import note_read, noted
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import check_whole_sum, common_split, random_numbers, split_dims, unfold
from widelimit.trace._parallel import is_parallel, parallel_product
from widelimit.trace._place import given, place, place_leaf, zeros
from widelimit.trace._structural import remap_constant
from widelimit.trace._table import rule
from widelimit.trace._transposed import with_transposed
from widelimit.trace._widths import fan_in


@dataclasses.dataclass(frozen=True)
class Dims:
    """Which dimensions of the two operands are contracted, which run in parallel, which are left."""

    contract: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]

    def free(self, side: int, rank: int) -> list[int]:
        return [d for d in range(rank) if d not in self.contract[side] and d not in self.batch[side]]

    @property
    def swapped(self) -> Dims:
        return Dims(self.contract[::-1], self.batch[::-1])


@rule("dot_general")
def dot_general(step: Step, a: Any, b: Any) -> Any:
    (ca, cb), (ba, bb) = step.params["dimension_numbers"]
    return product(a, b, Dims((tuple(ca), tuple(cb)), (tuple(ba), tuple(bb))), step.where)


def product(a: Any, b: Any, dims: Dims, where: str) -> Any:
    """Σ over the contracted dimensions; result: parallel dimensions, what is left of a, what is left of b."""
    if isinstance(a, Leaf) and isinstance(b, Leaf):
        a, b = _one_value(a, b, dims, where)
    if isinstance(a, Leaf):
        return matmul(a, place(b, None, where), dims, leaf_first=True, where=where)
    if isinstance(b, Leaf):
        return matmul(b, place(a, None, where), dims.swapped, leaf_first=False, where=where)
    a, b = _same_split(place(a, None, where), place(b, None, where), dims, where)
    match a, b:
        case Wide(), Wide() if is_parallel(a, dims.batch[0]):
            return parallel_product(a, b, dims, where)
        case Wide(), Wide():
            return moment_of_product(a, b, dims, where)
        case Wide(), Det():
            return known_product(b, a, dims.swapped, known_first=False, where=where)
        case Det(), Wide():
            return known_product(a, b, dims, known_first=True, where=where)
    return known_einsum(a, b, dims, where)


def _one_value(a: Leaf, b: Leaf, dims: Dims, where: str) -> tuple[Any, Any]:
    """A parameter of one vector, or of a fixed number, may stand as a value beside a matrix; two matrices have no rule."""
    grows = [any(len(set(x.sizes[d])) > 1 for d in dims.free(side, len(x.sizes))) for side, x in enumerate((a, b))]
    if len(a.sizes) == 1 or grows == [False, True]:
        return place_leaf(a, None, where), b
    if len(b.sizes) == 1 or grows == [True, False]:
        return a, place_leaf(b, None, where)
    raise Refusal(
        f"at {where}: the product of two parameters ({a.parameter.path!r} and {b.parameter.path!r}) has no rule; "
        "apply them to a vector one after the other."
    )


# --- MatMul -----------------------------------------------------------------------------------------------------------


def matmul(leaf: Leaf, x: Det | Wide, dims: Dims, *, leaf_first: bool, where: str) -> Det | Wide:
    """g = W h: a Gaussian with Cov(Z^g, Z^g') = σ_W² E[Z^h Z^h'] (Tensor Programs I, ZMatMul)."""
    x = _only_positions_left(leaf, x, dims.free(1, len(x.layout)), where)
    layout = _matmul_layout(leaf, x, dims, leaf_first)
    if isinstance(x, Det) and tp.is_zero(x.known):
        return zeros(layout)
    check_contraction(leaf, x, dims, where)
    check_whole_sum(x, dims.contract[1], where)
    weight, exponent = used_weight(leaf, x, dims, where)
    h = given(x, where) if isinstance(x, Det) else x.value
    contracted = tuple(i for d in dims.contract[1] for i in finite_axes(x.layout, d))
    kept = [i for i in range(len(h.shape)) if i not in contracted]
    batch = [i for d in dims.batch[1] for i in finite_axes(x.layout, d)]
    shape = tuple(h.shape[i] for i in kept)
    value = tp.MatMul(shape, where, weight, h, contracted, (), tuple(kept.index(i) for i in batch))
    order = [*batch, *(i for i in kept if i not in batch)]
    maps = [tp.keep(kept.index(i), target) for target, i in enumerate(order)]
    maps.sort(key=lambda m: m.inputs)
    moved = tp.image(with_transposed(value), tuple(maps), finite_shape(layout))
    return Wide(moved, layout, exponent)


def _only_positions_left(leaf: Leaf, x: Det | Wide, free: Sequence[int], where: str) -> Det | Wide:
    """A weight shared by several iid coordinates correlates them: replicas become positions; a wide axis cannot."""
    for dim in free:
        for position, axis in enumerate(x.layout[dim]):
            if not axis.copies:
                continue
            if axis.wide:
                raise Refusal(_token_mixing(leaf, where))
            x = unfold(x, dim, position, where) if isinstance(x, Wide) else remap_constant(x, dim)
    return x


def _token_mixing(leaf: Leaf, where: str) -> str:
    path = leaf.parameter.path
    return (
        f"at {where}: the weight {path!r} mixes positions, and all coordinates of a wide axis share it: its finitely many outputs are one "
        "random function, the same for every coordinate, that no width averages. The limit is a mixture over it, not a Gaussian process "
        "(and where it starts at a constant, its tangent kernel is random). Make it known numbers of the code, freeze it where it "
        f"starts at a constant (`learning_rates={{{path!r}: 0}}`), or give every coordinate weights of its own (a depthwise convolution)."
    )


def _matmul_layout(leaf: Leaf, x: Det | Wide, dims: Dims, leaf_first: bool) -> Layout:
    batch = [tuple(dataclasses.replace(a, shared=False) for a in x.layout[d]) for d in dims.batch[1]]
    mine = [() if set(leaf.sizes[d]) == {1} else (Axis(leaf.sizes[d], True),) for d in dims.free(0, len(leaf.sizes))]
    others = [x.layout[d] for d in dims.free(1, len(x.layout))]
    return tuple([*batch, *mine, *others] if leaf_first else [*batch, *others, *mine])


def check_centred(leaf: Leaf, where: str) -> None:
    if leaf.parameter.mean.coefficient:
        raise Refusal(
            f"at {where}: the weight {leaf.parameter.path!r} has entries of mean {leaf.parameter.mean}; the limit needs centred "
            "weights (or a constant, untrained one)"
        )


def check_contraction(leaf: Leaf, x: Det | Wide, dims: Dims, where: str) -> None:
    path = leaf.parameter.path
    check_centred(leaf, where)
    if any(not leaf.labels[d] and set(leaf.sizes[d]) != {1} for d in (*dims.contract[0], *dims.batch[0])):
        raise Refusal(f"at {where}: the parameter {path!r} is repeated along an axis that is summed over")
    inside = [a for d in dims.contract[1] for a in x.layout[d]]
    if isinstance(x, Wide) and not any(a.wide and a.copies for a in inside):
        sizes = [a.size for a in inside if a.copies]
        raise Refusal(
            f"at {where}: the weight {path!r} sums over only {math.prod(sizes)} coordinates of a random vector, a bottleneck that does not "
            "widen: what follows it is not a Gaussian process. Let that layer's size grow with the width, or end the network there."
        )


def used_weight(leaf: Leaf, x: Det | Wide, dims: Dims, where: str) -> tuple[tp.Weight, Fraction]:
    """The use of the weight, and the exponent of the product: (law + fan-in)/2 + scale + that of h."""
    fan = fan_in([a for d in dims.contract[1] for a in x.layout[d] if a.copies])
    contracted = frozenset(label for d in dims.contract[0] for label in leaf.labels[d])
    scale = leaf.scale * fan ** Fraction(1, 2)
    weight = tp.Weight(leaf.parameter.path, contracted, leaf.block, scale.coefficient, fan.coefficient, fan.exponent)
    exponent = leaf.parameter.exponent / 2 + scale.exponent + x.exponent
    if (exponents := noted()) is not None:
        exponents.note_product(weight, exponent, x.exponent)
        note_read(x)
    return weight, exponent


# --- known matrices ---------------------------------------------------------------------------------------------------


def _same_split(a: Det | Wide, b: Det | Wide, dims: Dims, where: str) -> tuple[Det | Wide, Det | Wide]:
    """Split the dimensions that meet into the same axes."""
    rows_a: list[Any] = [[ax.sizes for ax in dim] for dim in a.layout]
    rows_b: list[Any] = [[ax.sizes for ax in dim] for dim in b.layout]
    for da, db in zip((*dims.contract[0], *dims.batch[0]), (*dims.contract[1], *dims.batch[1]), strict=True):
        rows_a[da] = rows_b[db] = common_split([rows_a[da], rows_b[db]], where)
    return split_dims(a, rows_a), split_dims(b, rows_b)


def known_product(known: Det, x: Wide, dims: Dims, *, known_first: bool, where: str) -> Det | Wide:
    """A finite-linear image A h, A known from the example (attention weights, an adjacency matrix)."""
    if tp.is_zero(known.known):  # an adapter whose second factor starts at zero
        return zeros(_product_layout(known, x, dims, known_first=known_first))
    known, x = _meet(known, x, dims, where)
    pairs = list(zip(dims.batch[0], dims.batch[1], strict=True))
    free_known, free_x = dims.free(0, len(known.layout)), dims.free(1, len(x.layout))
    known = _positions_only(known, free_known, where)
    contracted = [i for d in dims.contract[1] for i in finite_axes(x.layout, d)]
    shared = [i for dk, dx in pairs if finite_axes(known.layout, dk) for i in finite_axes(x.layout, dx)]
    new = [a for d in free_known for a in known.layout[d]]
    mine, others = [known.layout[d] for d in free_known], [x.layout[d] for d in free_x]
    batch = [x.layout[d] for d in dims.batch[1]]
    layout = tuple([*batch, *mine, *others] if known_first else [*batch, *others, *mine])
    if tp.is_zero(known.known):
        return dataclasses.replace(zeros(layout), exponent=x.exponent + known.exponent)
    matrix, labels = _matrix(known, dims)
    maps = _mixing_maps(
        x, layout, matrix, _Mix(contracted, shared, len(new), dims, free_x, len(batch), known_first, tuple(labels))
    )
    return Wide(tp.image(x.value, maps, finite_shape(layout)), layout, x.exponent + known.exponent)


def _product_layout(known: Det, x: Wide, dims: Dims, *, known_first: bool) -> Layout:
    mine = [known.layout[d] for d in dims.free(0, len(known.layout))]
    others = [x.layout[d] for d in dims.free(1, len(x.layout))]
    batch = [x.layout[d] or known.layout[e] for e, d in zip(*dims.batch, strict=True)]
    return tuple([*batch, *mine, *others] if known_first else [*batch, *others, *mine])


def _meet(known: Det, x: Wide, dims: Dims, where: str) -> tuple[Det, Wide]:
    """Contracted axes are finite on both sides; parallel ones finite on both, or constant in the known one."""
    for dk, dx in zip(dims.contract[0], dims.contract[1], strict=True):
        for position, axis in enumerate(x.layout[dx]):
            if axis.wide:
                raise Refusal(
                    f"at {where}: a random vector is summed over its width with known numbers; write it as a mean "
                    "over the width (a sum and a division)"
                )
            if axis.copies:
                x = unfold(x, dx, position, where)
        if any(a.copies for a in known.layout[dk]):
            known = remap_constant(known, dk)
    for dk, dx in zip(dims.batch[0], dims.batch[1], strict=True):
        for position, axis in enumerate(x.layout[dx]):
            if axis.copies and not known.layout[dk][position].copies:
                x = unfold(x, dx, position, where)
    return known, x


def _positions_only(known: Det, free: Sequence[int], where: str) -> Det:
    for d in free:
        if any(a.wide for a in known.layout[d]):
            raise Refusal(
                f"at {where}: a random vector is repeated along another wide axis; widelimit has no rule for an outer product of widths"
            )
        if any(a.copies for a in known.layout[d]):
            known = remap_constant(known, d)
    return known


@dataclasses.dataclass(frozen=True)
class _Mix:
    contracted: list[int]
    shared: list[int]
    new: int
    dims: Dims
    free_x: list[int]
    batches: int
    known_first: bool
    labels: tuple[Any, ...]


def _matrix(known: Det, dims: Dims) -> tuple[tp.Known, list[Any]]:
    """The known array and what each of its axes is: shared, new or contracted, numbered in the order of the map."""
    labels = []
    for d, dim in enumerate(known.layout):
        kind = "c" if d in dims.contract[0] else "b" if d in dims.batch[0] else "n"
        labels += [(kind, _rank(d, dims, kind), i) for i, a in enumerate(dim) if not a.copies]
    return known.known, labels


def _rank(d: int, dims: Dims, kind: str) -> int:
    return dims.contract[0].index(d) if kind == "c" else dims.batch[0].index(d) if kind == "b" else d


def _mixing_maps(x: Wide, layout: Layout, matrix: tp.Known, mix: _Mix) -> tuple[tp.AxisMap, ...]:
    """One map that mixes (shared, contracted) axes into (shared, new) ones; all others are kept."""
    targets = _targets(x, layout, mix)
    inputs = (*mix.shared, *mix.contracted)
    new_out = targets["new"]
    outputs = (*(targets[i] for i in mix.shared), *new_out)
    ordered = sorted(set(mix.labels), key=lambda label: ("bnc".index(label[0]), *label[1:]))
    positions = [ordered.index(label) for label in mix.labels]
    fn = _mixer(positions, len(mix.shared), len(mix.contracted), mix.new)
    rest = [tp.keep(i, targets[i]) for i in range(len(x.value.shape)) if i not in inputs]
    key = ("mix", id(matrix), tuple(positions), len(mix.shared))
    return (*rest, tp.mixed(inputs, outputs, matrix, fn, key))


def _targets(x: Wide, layout: Layout, mix: _Mix) -> dict[Any, Any]:
    """Where each kept axis of x, and each new axis, comes to stand."""
    order: list[Any] = [i for d in mix.dims.batch[1] for i in finite_axes(x.layout, d)]
    others = [i for d in mix.free_x for i in finite_axes(x.layout, d)]
    new = [("new", i) for i in range(mix.new)]
    order += new + others if mix.known_first else others + new
    targets = {axis: at for at, axis in enumerate(order)}
    return {**targets, "new": [targets[n] for n in new]}


def _mixer(positions: Sequence[int], shared: int, contracted: int, new: int) -> Any:
    b, n, c = range(shared), range(shared, shared + new), range(shared + new, shared + new + contracted)

    def fn(a: Any, matrix: Any) -> Any:
        rest = range(100, 100 + a.ndim - shared - contracted)
        return jnp.einsum(matrix, list(positions), a, [*b, *c, *rest], [*b, *n, *rest])

    return fn


def known_einsum(a: Det, b: Det, dims: Dims, where: str) -> Det:
    """Both known: an einsum over the finite axes; a constant axis that is summed counts its copies."""
    names: dict[Any, int] = {}
    for i, (da, db) in enumerate(
        zip((*dims.contract[0], *dims.batch[0]), (*dims.contract[1], *dims.batch[1]), strict=True)
    ):
        for p in range(len(a.layout[da])):
            names["a", da, p] = names["b", db, p] = 50 * i + p
    label = _Labels(names)
    in_a, in_b = label.of("a", a.layout), label.of("b", b.layout)
    out, layout = _einsum_result(a, b, dims, label)
    copies = [
        x
        for da, db in zip(*dims.contract, strict=True)
        for x, y in zip(a.layout[da], b.layout[db], strict=True)
        if x.copies and y.copies
    ]
    fan = fan_in(copies)

    def fn(x: Any, y: Any) -> Any:
        return jnp.einsum(jnp.asarray(x), in_a, jnp.asarray(y), in_b, out) * np.asarray(fan.coefficient)

    known = tp.apply(fn, finite_shape(layout), a.known, b.known, name="dot")
    return Det(known, layout, a.exponent + b.exponent + fan.exponent)


class _Labels:
    """Integer names of axes for einsum: equal for axes that meet."""

    def __init__(self, names: dict[Any, int]):
        self.names = names

    def one(self, side: str, dim: int, position: int) -> int:
        return self.names.setdefault((side, dim, position), 10_000 + len(self.names))

    def of(self, side: str, layout: Layout) -> list[int]:
        return [self.one(side, d, p) for d, dim in enumerate(layout) for p, a in enumerate(dim) if not a.copies]


def _einsum_result(a: Det, b: Det, dims: Dims, label: _Labels) -> tuple[list[int], Layout]:
    out, layout = [], []
    for da, db in zip(*dims.batch, strict=True):
        row = [Axis(x.sizes, x.copies and y.copies) for x, y in zip(a.layout[da], b.layout[db], strict=True)]
        out += [label.one("a", da, p) for p, axis in enumerate(row) if not axis.copies]
        layout.append(tuple(row))
    for side, x, index in (("a", a, 0), ("b", b, 1)):
        for d in dims.free(index, len(x.layout)):
            out += [label.one(side, d, p) for p, axis in enumerate(x.layout[d]) if not axis.copies]
            layout.append(x.layout[d])
    return out, tuple(layout)


# --- Moment -----------------------------------------------------------------------------------------------------------


def moment_of_product(a: Wide, b: Wide, dims: Dims, where: str) -> Det:
    """Σ_α a_α b_α over a wide axis: n E[Z^a Z^b] to leading order (Moment)."""
    note_read(a, b)
    a, b, copies = _contract_copies(a, b, dims, where)
    contract = [
        (p, q)
        for da, db in zip(*dims.contract, strict=True)
        for p, q in zip(finite_axes(a.layout, da), finite_axes(b.layout, db), strict=True)
    ]
    batch = [
        (p, q)
        for da, db in zip(*dims.batch, strict=True)
        for p, q in zip(finite_axes(a.layout, da), finite_axes(b.layout, db), strict=True)
    ]
    at = {q: p for p, q in [*contract, *batch]}
    match = tuple(at.get(q) for q in range(len(b.value.shape)))
    rest = [q for q in range(len(b.value.shape)) if q not in at]
    shape = (*a.value.shape, *(b.value.shape[q] for q in rest))
    known: tp.Known = tp.Moment(shape, a.value, b.value, match, where)
    free_a = [i for d in dims.free(0, len(a.layout)) for i in finite_axes(a.layout, d)]
    free_b = [len(a.value.shape) + rest.index(i) for d in dims.free(1, len(b.layout)) for i in finite_axes(b.layout, d)]
    order = [*(p for p, _ in batch), *free_a, *free_b]
    layout = tuple(
        [
            *(a.layout[d] for d in dims.batch[0]),
            *(a.layout[d] for d in dims.free(0, len(a.layout))),
            *(b.layout[d] for d in dims.free(1, len(b.layout))),
        ]
    )
    fan = fan_in(copies)
    known = tp.apply(_summed_onto(order, fan.coefficient), finite_shape(layout), known, name=f"{fan.coefficient:.4g}·")
    return Det(known, layout, a.exponent + b.exponent + _sum_exponent(a, b, fan.exponent))


def _sum_exponent(a: Wide, b: Wide, fan: Fraction) -> Fraction:
    """A sum over the width is of order n times the mean; where orders alone are noted, √n if the mean is zero."""
    return fan / 2 if noted() is not None and tp.is_uncorrelated(a.value, b.value) else fan


def _summed_onto(order: Sequence[int], coefficient: float) -> Any:
    def fn(x: Any) -> Any:
        return jnp.einsum(jnp.asarray(x), list(range(np.ndim(x))), list(order)) * coefficient

    return fn


def _contract_copies(a: Wide, b: Wide, dims: Dims, where: str) -> tuple[Wide, Wide, list[Axis]]:
    """Check that the sum runs over a wide axis of both; replicas that meet positions are numbered."""
    for x, contract in ((a, dims.contract[0]), (b, dims.contract[1])):
        check_whole_sum(x, contract, where)
    summed: list[Axis] = []
    for da, db in zip(*dims.contract, strict=True):
        for p, (x, y) in enumerate(zip(a.layout[da], b.layout[db], strict=True)):
            if x.copies and y.copies:
                summed.append(x)
            elif x.copies:
                a = unfold(a, da, p, where)
            elif y.copies:
                b = unfold(b, db, p, where)
    for da, db in zip(*dims.batch, strict=True):
        for p, (x, y) in enumerate(zip(a.layout[da], b.layout[db], strict=True)):
            if x.copies and not y.copies:
                a = unfold(a, da, p, where)
            elif y.copies and not x.copies:
                b = unfold(b, db, p, where)
    left = [x for d in dims.free(0, len(a.layout)) for x in a.layout[d]] + [
        y for d in dims.free(1, len(b.layout)) for y in b.layout[d]
    ]
    if any(x.copies for x in left) or not any(x.wide for x in summed):
        random = [x for x in (a, b) if not any(axis.wide for axis in axes(x.layout))]
        if random:
            raise Refusal(random_numbers(random[0], where))
        raise Refusal(
            f"at {where}: a product of two random vectors that is not a sum over their whole width: what is left of it stays random "
            "(an average over a fixed number of coordinates, an outer product of widths, or weights that are themselves computed from "
            "random vectors, as a hypernetwork makes them)"
        )
    return a, b, summed
