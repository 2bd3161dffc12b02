"""What each side brings to a Mehler series: values at nodes, coefficients, and how much the terms left out hold.

The rule has fixed nodes for N(0, 1), panels that shrink towards 0, and is checked by a coarser one on the very functions and laws at
hand. Kinks are taken off first.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian import _segments, _series
from widelimit.gaussian._mesh import Mesh
from widelimit.gaussian._plane import side_edges
from widelimit.gaussian._segments import Edges
from widelimit.gaussian._series import LONG, STEP, Fixed, Panels, Side

# Kinks taken off may be this much larger than the function: what is taken off comes back with its own rounding errors.
_LARGEST = {8: 40.0, 4: 6.0}
_SPACING = 0.5  # standard deviations between marks of panels that follow the function


class Half(NamedTuple):
    """A stack f, f', …, f⁽ⁿ⁾, the jumps of the last, the law of its argument, and the mesh of a function that needs it."""

    functions: tuple[Callable[[Array], Array], ...]
    edges: Edges
    mean: Array | None
    variance: Array
    mesh: Mesh | None = None


class _Kinks(NamedTuple):
    """Which orders of kinks were taken off, the coefficients of these, and E[R²]."""

    keep: tuple[Array, ...]
    coefficients: Array
    square: Array


class _Sample(NamedTuple):
    """What values at the nodes tell of f, …, f⁽ⁿ⁾."""

    means: tuple[Array, ...]  # E[f], …, E[f⁽ⁿ⁻¹⁾]
    norm: Array  # √E[f⁽ⁿ⁾²]; 1 of a function that vanishes
    square: Array  # E[f⁽ⁿ⁾²] without the kinks
    error: Array  # of the nodes
    coefficients: Callable[[Array], Array]  # of f⁽ⁿ⁾ without the kinks
    kinks: _Kinks | None


def sides(halves: tuple[Half, ...], rate: Array, accuracy: float) -> tuple[tuple[Side, ...], Array]:
    """The sides of the series, and the number of terms that serves correlations up to `rate` (or `LONG`)."""
    samples = [_sample(half) for half in halves]
    bare = [jnp.zeros((LONG, *s.square.shape), s.square.dtype) for s in samples]

    def more(state: tuple[Array, tuple[Array, ...]]) -> Array:
        count, coefficients = state
        some = [_side(s, c, count, accuracy) for s, c in zip(samples, coefficients, strict=True)]
        left, right = (tuple(jnp.max(x) for x in (s.rough, s.edged)) for s in (some[0], some[-1]))
        bound = missing(left, right) * rate**count
        return (count < LONG) & ((count == 0) | (bound > tolerance(accuracy, rate.dtype)))

    def step(state: tuple[Array, tuple[Array, ...]]) -> tuple[Array, tuple[Array, ...]]:
        count, coefficients = state
        new = (s.coefficients(count) for s in samples)
        pairs = zip(coefficients, new, strict=True)
        return count + STEP, tuple(lax.dynamic_update_slice_in_dim(c, n, count, 0) for c, n in pairs)

    terms, found = lax.while_loop(more, step, (jnp.zeros((), jnp.int32), tuple(bare)))
    return tuple(_side(s, c, terms, accuracy) for s, c in zip(samples, found, strict=True)), terms


def _sample(half: Half) -> _Sample:
    s, rule = jnp.sqrt(jnp.maximum(half.variance, 0)), _rule(half)
    u = s * rule.nodes(half.variance)
    u = u if half.mean is None else u + half.mean
    *values, top = (jnp.broadcast_to(f(u), u.shape).astype(u.dtype) for f in half.functions)
    square = rule.mean(top**2)
    norm = jnp.sqrt(jnp.where(square > 0, square, 1))
    if not half.edges.places:
        means = tuple(rule.mean(v) for v in values)
        return _Sample(means, norm, square, rule.disagreement(top), rule.coefficients(top), None)
    kinks = _kinks(half, norm)
    smooth = top - _segments.rough_part(half.edges, u, kinks.keep)
    lifts = range(len(values), 0, -1)
    # E[f⁽ⁿ⁻ᵐ⁾]: its kinks, those of f⁽ⁿ⁾ m orders higher, are taken off and added exactly
    means = tuple(
        rule.mean(v - _segments.rough_part(half.edges, u, kinks.keep, lift))
        + _segments.rough_mean(half.edges, kinks.keep, half.mean, half.variance, lift=lift)
        for v, lift in zip(values, lifts, strict=True)
    )
    return _Sample(means, norm, rule.mean(smooth**2), rule.disagreement(smooth), rule.coefficients(smooth), kinks)


def _rule(half: Half) -> Fixed | Panels:
    if half.mesh is None:
        return Fixed()
    return Panels(*_series.panel_nodes(side_edges(half.mesh, half.mean, half.variance, _SPACING)))


def _kinks(half: Half, norm: Array) -> _Kinks:
    """What is taken off: each order of jumps, but where that would drown the function."""
    edges, mean, variance = half.edges, half.mean, half.variance
    alone = jnp.eye(len(edges.orders), dtype=norm.dtype)
    most = _LARGEST[norm.dtype.itemsize] * norm
    squares = (_segments.rough_square(edges, tuple(row), mean, variance) for row in alone)
    keep = tuple((jnp.sqrt(square) <= most).astype(norm.dtype) for square in squares)
    coefficients = _segments.rough_coefficients(edges, keep, mean, variance, terms=LONG)
    return _Kinks(keep, coefficients, _segments.rough_square(edges, keep, mean, variance))


def _side(sample: _Sample, coefficients: Array, count: Array, accuracy: float) -> Side:
    """The side of the first `count` terms; where the check of the rule fails, nothing is said to be known."""
    norm, kinks = sample.norm, sample.kinks
    wrong = sample.error > max(0.1 * accuracy, 30 * float(jnp.finfo(norm.dtype).eps)) * norm
    rough = _series.missing(sample.square, coefficients) / norm
    if kinks is None:
        return Side(sample.means, coefficients, None, (), rough, jnp.zeros_like(rough), wrong)
    some = kinks.coefficients * (_series.column(np.arange(LONG), norm) < count)
    edged = _series.missing(kinks.square, some) / norm
    return Side(sample.means, coefficients + some, some, kinks.keep, rough, edged, wrong)


def missing(left: tuple[Array, Array], right: tuple[Array, Array]) -> Array:
    """Bound of Σ (a_j b_j - r_j r'_j) over the terms left out, a share of the norms (Cauchy–Schwarz).

    With a = d + r and b = d' + r' the terms are d_j b_j + r_j d'_j; given are the norms of what is left out of (d, r) and (d', r').
    """
    return left[0] * (right[0] + right[1]) + left[1] * right[0]


def tolerance(accuracy: float, dtype: jnp.dtype) -> float:
    """What may be missing: the accuracy, or what rounding leaves."""
    return max(accuracy, 30 * float(jnp.finfo(dtype).eps))


def split(side: Side, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[Side, Side]:
    """One flat side as two of the given shapes, laid one after the other."""
    sizes = [prod(shape) for shape in shapes]

    def part(x: Array, i: int) -> Array:
        start = sizes[0] * i
        return x[..., start : start + sizes[i]].reshape(*x.shape[:-1], *shapes[i])

    return tuple(jax.tree.map(lambda x, i=i: part(x, i), side) for i in range(2))
