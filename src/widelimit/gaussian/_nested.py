"""Nested panels for kinks: the directions across which φ and ψ are not smooth are integrated piece by piece.

Let the kinks of φ(u) lie on a·u = c and those of ψ(v) on b·v = d. Given s = a·u and t = b·v the other n - 2 coordinates are
Gaussian and the integrand is smooth in them: Gauss–Hermite. The integral over t ends its panels at the places d, that
over s at c and, since the inner integral is smooth only at the scale of t's spread given s, at a few marks around the s whose
conditional mean of t is d. Gauss–Legendre rules in each panel.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit.gaussian._landscape import Hyperplanes
from widelimit.gaussian._nodes import tensor

_REACH = 6.5  # standard deviations; the mass outside is 8e-11
_MARKS = (-6.5, -3.25, 0.0, 3.25, 6.5)
_BLUR = (-3.0, -1.0, 1.0, 3.0)
_PANEL = 10  # Gauss–Legendre nodes of a panel


class Nodes(NamedTuple):
    """A rule for one law: chunk i < count gives centred arguments (n, K, ...) and weights (K, ...)."""

    count: int
    chunk: Callable[[Array], tuple[Array, Array]]


class _Direction(NamedTuple):
    """A standardised coordinate: x = mean + root ξ with ξ standard."""

    root: Array
    rest: Array


def nested(planes: tuple[Hyperplanes, Hyperplanes], covariance: Array, mean: Array, order: int) -> Nodes:
    """Nodes for a law (n, n, ...) with means (n, ...); `order` is the number of Gauss–Hermite nodes an axis."""
    rows = [(jnp.asarray(row, covariance.dtype), places) for row, places in _rows(planes, len(covariance))]
    directions, offsets, rest = [], [], covariance
    for row, places in rows:
        direction = _conditioned(rest, row)
        directions.append(direction)
        offsets.append(_column(places, covariance) - jnp.tensordot(row, mean, 1))
        rest = direction.rest
    inner = _remaining(rest, len(covariance) - len(rows), order)
    if len(rows) == 1:
        return _one_level(directions[0], offsets[0], rows[0][0], inner)
    return _two_levels(directions, offsets, [row for row, _ in rows], inner)


def _rows(planes: tuple[Hyperplanes, Hyperplanes], n: int) -> list[tuple[np.ndarray, tuple[float, ...]]]:
    """The normals in the joint coordinates, and the offsets, of the sides that have kinks."""
    left, right = planes
    p = len(left.normal)
    rows = [
        (np.concatenate([left.normal, np.zeros(n - p)]), left.offsets),
        (np.concatenate([np.zeros(p), right.normal]), right.offsets),
    ]
    return [row for row in rows if row[1]]


def _column(places: tuple[float, ...], like: Array) -> Array:
    return jnp.asarray(places, like.dtype).reshape(-1, *[1] * (like.ndim - 2))


def _conditioned(covariance: Array, row: Array) -> _Direction:
    """The part of x along a·x, a column x = root ξ, and the covariance of what is left."""
    along = jnp.einsum("ab...,b->a...", covariance, row)
    variance = jnp.einsum("a...,a->...", along, row)
    positive = variance > jnp.finfo(covariance.dtype).eps * jnp.einsum("aa...->...", covariance)
    root = jnp.where(positive, along / jnp.sqrt(jnp.where(positive, variance, 1)), 0)
    return _Direction(root, covariance - root[:, None] * root[None])


def _remaining(covariance: Array, rank: int, order: int) -> tuple[Array, Array]:
    """Gauss–Hermite nodes of the rest, (n, K, ...), and weights (K,)."""
    if rank == 0:
        return jnp.zeros((len(covariance), 1, *covariance.shape[2:]), covariance.dtype), jnp.ones(1, covariance.dtype)
    moved = jnp.moveaxis(covariance, (0, 1), (-2, -1))
    values, vectors = jnp.linalg.eigh(moved)
    root = vectors[..., -rank:] * jnp.sqrt(jnp.maximum(values[..., None, -rank:], 0))
    z, w = (jnp.asarray(x, covariance.dtype) for x in tensor(rank, order, 1e-8))
    return jnp.moveaxis(root @ z, (-2, -1), (0, 1)), w


def _standard(places: Array, scale: Array) -> Array:
    """places/scale, clipped to the reach; far away where the scale vanishes."""
    tiny = float(jnp.finfo(scale.dtype).tiny) * 1e10
    scale = jnp.where(jnp.abs(scale) > tiny, scale, tiny)
    return jnp.clip(places / scale, -_REACH, _REACH)


def _edges(marks: Array) -> Array:
    fixed = _column(_MARKS, marks[None])
    fixed = jnp.broadcast_to(fixed, (len(_MARKS), *marks.shape[1:]))
    return jnp.sort(jnp.concatenate([fixed, marks]), 0)


def _panel(edges: Array, i: Array) -> tuple[Array, Array]:
    """Nodes and weights (with the normal density) of panel i, each (nodes, ...)."""
    x, w = (_column(tuple(a), edges[None]) for a in np.polynomial.legendre.leggauss(_PANEL))
    half, middle = 0.5 * (edges[i + 1] - edges[i]), 0.5 * (edges[i + 1] + edges[i])
    y = middle + half * x
    return y, w * half * jnp.exp(-0.5 * y * y) * (1 / np.sqrt(2 * np.pi))


def _one_level(direction: _Direction, offsets: Array, row: Array, inner: tuple[Array, Array]) -> Nodes:
    edges = _edges(_standard(offsets, jnp.tensordot(row, direction.root, 1)))

    def chunk(i: Array) -> tuple[Array, Array]:
        y, weight = _panel(edges, i)
        return _combined(direction.root[:, None] * y, weight, inner)

    return Nodes(len(edges) - 1, chunk)


def _two_levels(directions: list, offsets: list, rows: list, inner: tuple[Array, Array]) -> Nodes:
    first, second = directions
    spread = jnp.tensordot(rows[0], first.root, 1)
    slope, blur = jnp.tensordot(rows[1], first.root, 1), jnp.tensordot(rows[1], second.root, 1)
    seen = [_standard(offsets[1] + step * blur, slope) for step in _BLUR]
    outer = _edges(jnp.concatenate([_standard(offsets[0], spread), *seen]))
    panels = len(_MARKS) + len(offsets[1]) - 1

    def chunk(i: Array) -> tuple[Array, Array]:
        node, j = i // panels, i % panels
        y, weight = _panel(outer, node // _PANEL)
        y, weight = y[node % _PANEL], weight[node % _PANEL]
        edges = _edges(_standard(offsets[1] - slope * y, blur))
        t, share = _panel(edges, j)
        x = (first.root * y)[:, None] + second.root[:, None] * t
        return _combined(x, weight * share, inner)

    return Nodes((len(outer) - 1) * _PANEL * panels, chunk)


def _combined(x: Array, weight: Array, inner: tuple[Array, Array]) -> tuple[Array, Array]:
    """All pairs of panel nodes (n, J, ...) and inner nodes (n, K, ...), flattened: (n, J·K, ...)."""
    z, w = inner
    shape = x.shape[2:]
    nodes = (x[:, :, None] + z[:, None]).reshape(len(x), -1, *shape)
    w = w.reshape(1, -1, *[1] * len(shape))
    weights = jnp.broadcast_to(weight[:, None] * w, (weight.shape[0], w.shape[1], *shape)).reshape(-1, *shape)
    return nodes, weights
