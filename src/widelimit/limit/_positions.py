"""Maps on positions inside a nonlinearity: which position is read where.

A sum over positions of nonlinear values, Σ_j A_ij h_j, is a sum of *reads*, h at the k-th position with A_ij ≠ 0 for every i,
times known numbers. Reads commute with coordinatewise functions, so that a function of such sums (batch normalisation, softmax over
positions, pooling between activations) is one function of the Gaussians at all positions.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from widelimit import program as tp

MOST = 64  # Gaussians that one function may couple


class FusionError(ValueError):
    """A value is no coordinatewise function of Gaussian ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Read:
    """One term of a map: a selection of positions, times a number, an array over the outputs, or a known array."""

    map: tp.AxisMap
    weight: Any = None


def moves_only(x: tp.Image) -> bool:
    """Whether every position reads exactly one."""
    return all(m.selection and not _leaves_gaps(m) for m in x.maps)


def _leaves_gaps(m: tp.AxisMap) -> bool:
    """Whether a selection puts zeros somewhere: no image of a function φ with φ(0) ≠ 0."""
    match m.key:
        case ("pad", *_):
            return True
        case ("pick", indices):
            return min(indices) < 0
        case ("read", *_, gap):
            return gap is not None
    return False


def as_sum(x: tp.Image) -> tp.Value:
    """An image as a sum of weighted reads."""
    rows = [_reads(m, x) for m in x.maps]
    count = math.prod(map(len, rows))
    if count > MOST:
        raise FusionError(
            f"at {x.where}: sums of nonlinear values over {count} positions enter another nonlinearity without a weight in between; "
            f"{MOST} is the most that has a rule. Put a dense layer between them, or sum over fewer positions."
        )
    terms = tuple(_term(x, reads) for reads in itertools.product(*rows))
    return terms[0] if len(terms) == 1 else tp.Sum(x.shape, x.where, terms)


def _term(x: tp.Image, reads: tuple[_Read, ...]) -> tp.Value:
    value = tp.image(x.h, tuple(r.map for r in reads), x.shape)
    for read in reads:
        if read.weight is not None:
            value = tp.Scaled(x.shape, x.where, _placed(read, x.shape), value)
    return value


def _placed(read: _Read, shape: tuple[int, ...]) -> tp.Known:
    """The weights over the positions of the image."""
    if isinstance(read.weight, float):
        return tp.constant(np.asarray(read.weight))
    outputs = read.map.outputs
    order = sorted(range(len(outputs)), key=lambda i: outputs[i])
    spread = tuple(n if i in outputs else 1 for i, n in enumerate(shape))

    def fn(a: Any) -> Any:
        return jnp.broadcast_to(jnp.transpose(jnp.asarray(a), order).reshape(spread), shape)

    return tp.apply(fn, shape, read.weight, name="weights")


def _reads(m: tp.AxisMap, x: tp.Image) -> list[_Read]:
    if m.selection and not _leaves_gaps(m):
        return [_Read(m)]
    before, after = tuple(x.h.shape[i] for i in m.inputs), tuple(x.shape[o] for o in m.outputs)
    if m.matrix is not None:
        return [_known_read(m, before, after, j) for j in range(math.prod(before))]
    matrix = _matrix(m, before, after)
    order = np.argsort(matrix == 0, axis=1, kind="stable")  # the places of what is not zero come first
    most = max(1, int((matrix != 0).sum(1).max(initial=0)))
    return [_constant_read(m, before, after, order[:, k], matrix) for k in range(most)]


def _matrix(m: tp.AxisMap, before: tuple[int, ...], after: tuple[int, ...]) -> np.ndarray:
    """A map's matrix, (outputs, inputs)."""
    size = math.prod(before)
    with jax.ensure_compile_time_eval():
        image = m.fn(jnp.eye(size).reshape(*before, size))
    return np.asarray(image).reshape(math.prod(after), size)


def _constant_read(
    m: tp.AxisMap, before: tuple[int, ...], after: tuple[int, ...], places: np.ndarray, matrix: np.ndarray
) -> _Read:
    weights = np.take_along_axis(matrix, places[:, None], 1)[:, 0]
    selection = _selection(m, before, after, tuple(places.tolist()))
    if np.all(weights == weights[0]):
        return _Read(selection, None if weights[0] == 1 else float(weights[0]))
    return _Read(selection, tp.constant(weights.reshape(after)))


def _known_read(m: tp.AxisMap, before: tuple[int, ...], after: tuple[int, ...], place: int) -> _Read:
    def fn(matrix: Any) -> Any:
        unit = jnp.zeros(math.prod(before), jnp.asarray(matrix).dtype).at[place].set(1)
        return m.fn(unit.reshape(before), matrix)

    selection = _selection(m, before, after, (place,) * math.prod(after))
    return _Read(selection, tp.apply(fn, after, m.matrix, name="weights"))


def _selection(m: tp.AxisMap, before: tuple[int, ...], after: tuple[int, ...], places: tuple[int, ...]) -> tp.AxisMap:
    return tp.read(m.inputs, m.outputs, (before, after), places)


class Reading(NamedTuple):
    """What a Gaussian value reads: the value under its selections, and which of its positions at each of its own (−1: zero)."""

    root: Hashable
    shape: tuple[int, ...] = ()
    places: tuple[int, ...] | None = None  # None: each its own


def reading(value: tp.Value) -> Reading:
    """Equal for values that are the same at every position."""
    made = vars(value)
    if "_reading" not in made:
        made["_reading"] = _reading(value)
    return made["_reading"]


def equal_reads(bases: tuple[tp.Value, ...]) -> tuple[int, ...]:
    """Numbers of the bases, the same for those that read one position of one value, where the fewest do."""
    roots: dict[Any, int] = {}
    rows = []
    for base in bases:
        key = reading(base)
        places = range(math.prod(base.shape)) if key.places is None else key.places
        rows.append(np.asarray(places, int) + 1 + roots.setdefault(key.root, len(roots) << 32))
    table = np.stack(np.broadcast_arrays(*rows)) if rows and rows[0].size else np.zeros((len(rows), 1))
    distinct = [len(set(column)) for column in table.T.tolist()]
    best = table[:, int(np.argmax(distinct))].tolist()
    return tuple(best.index(x) for x in best)


def _reading(value: tp.Value) -> Reading:
    root, chain = value, []
    while isinstance(root, tp.Image) and all(m.selection and m.matrix is None for m in root.maps):
        chain.append(root)
        root = root.h
    if not chain:
        return Reading(_identity(root))
    places = np.arange(1, math.prod(root.shape) + 1).reshape(root.shape)
    with jax.ensure_compile_time_eval():
        for image in reversed(chain):
            places = tp.apply_maps(jnp.asarray(places), image.maps, lambda _: None)
    places = np.asarray(places)
    if places.shape == root.shape and np.array_equal(places.ravel(), np.arange(1, places.size + 1)):
        return Reading(_identity(root))
    return Reading(_identity(root), places.shape, tuple((places - 1).ravel().tolist()))


def _identity(root: tp.Value) -> Hashable:
    """A parameter that is read twice is one vector."""
    if isinstance(root, tp.Vector):
        w = root.weight
        return w.path, w.contracted, w.block, w.amplitude, root.shape
    return root
