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
from widelimit.gaussian._segments import Edges
from widelimit.gaussian._series import LONG, STEP, Side

# Kinks taken off may be this much larger than the function: what is taken off comes back with its own rounding errors.
_LARGEST = {8: 40.0, 4: 6.0}


class Half(NamedTuple):
    """A stack f, f', …, f⁽ⁿ⁾, the jumps of the last, and the law of its argument."""

    functions: tuple[Callable[[Array], Array], ...]
    edges: Edges
    mean: Array | None
    variance: Array


class _Sample(NamedTuple):
    """E[f], …, E[f⁽ⁿ⁻¹⁾]; f⁽ⁿ⁾ at the fixed nodes, and without its kinks; which of them were taken off; their coefficients."""

    means: tuple[Array, ...]
    top: Array
    smooth: Array
    keep: tuple[Array, ...]
    kinks: Array | None


def sides(halves: tuple[Half, ...], rate: Array, accuracy: float) -> tuple[tuple[Side, ...], Array]:
    """The sides of the series, and the number of terms that serves correlations up to `rate` (or `LONG`)."""
    samples = [_sample(half) for half in halves]
    bare = [jnp.zeros((LONG, *s.top.shape[1:]), s.top.dtype) for s in samples]

    def more(state: tuple[Array, tuple[Array, ...]]) -> Array:
        count, coefficients = state
        some = [_side(s, c, count, accuracy) for s, c in zip(samples, coefficients, strict=True)]
        tails, roughs = ([jnp.max(x) for x in xs] for xs in zip(*((s.tail, s.rough) for s in some), strict=True))
        bound = missing(tails[0], tails[-1], roughs[0], roughs[-1]) * rate**count
        return (count < LONG) & ((count == 0) | (bound > tolerance(accuracy, rate.dtype)))

    def step(state: tuple[Array, tuple[Array, ...]]) -> tuple[Array, tuple[Array, ...]]:
        count, coefficients = state
        new = (_series.fixed_coefficients(s.smooth, count) for s in samples)
        pairs = zip(coefficients, new, strict=True)
        return count + STEP, tuple(lax.dynamic_update_slice_in_dim(c, n, count, 0) for c, n in pairs)

    terms, found = lax.while_loop(more, step, (jnp.zeros((), jnp.int32), tuple(bare)))
    return tuple(_side(s, c, terms, accuracy) for s, c in zip(samples, found, strict=True)), terms


def _sample(half: Half) -> _Sample:
    s = jnp.sqrt(jnp.maximum(half.variance, 0))
    u = s * _series.column(_series.fixed_nodes(), half.variance)
    u = u if half.mean is None else u + half.mean
    *values, top = (jnp.broadcast_to(f(u), u.shape).astype(u.dtype) for f in half.functions)
    if not half.edges.places:
        return _Sample(tuple(_series.mean(v) for v in values), top, top, (), None)
    keep = _kept(half.edges, u, jnp.sqrt(_series.square(top)))
    smooth = top - _segments.rough_part(half.edges, u, keep)
    kinks = _segments.rough_coefficients(half.edges, keep, half.mean, half.variance, terms=LONG)
    lifts = range(len(values), 0, -1)
    means = (_mean(half, v, u, keep, lift=lift) for v, lift in zip(values, lifts, strict=True))
    return _Sample(tuple(means), top, smooth, keep, kinks)


def _mean(half: Half, values: Array, u: Array, keep: tuple[Array, ...], *, lift: int) -> Array:
    """E[f⁽ⁿ⁻ᵐ⁾] from values at u, its kinks, those of f⁽ⁿ⁾ m orders higher, taken off and added exactly."""
    rest = _series.mean(values - _segments.rough_part(half.edges, u, keep, lift))
    return rest + _segments.rough_mean(half.edges, keep, half.mean, half.variance, lift=lift)


def _kept(edges: Edges, u: Array, norm: Array) -> tuple[Array, ...]:
    """For each order whether its jumps are taken off: 1, or 0 where that would drown the function."""
    alone = jnp.eye(len(edges.orders), dtype=norm.dtype)
    sizes = (jnp.sqrt(_series.square(_segments.rough_part(edges, u, tuple(row)))) for row in alone)
    return tuple((size <= _LARGEST[norm.dtype.itemsize] * norm).astype(norm.dtype) for size in sizes)


def _side(sample: _Sample, coefficients: Array, count: Array, accuracy: float) -> Side:
    """The side of the first `count` terms; where the check of the rule fails, nothing is said to be known."""
    square = _series.square(sample.top)
    norm = jnp.sqrt(jnp.where(square > 0, square, 1))
    wrong = _series.disagreement(sample.smooth) > max(0.1 * accuracy, 30 * float(jnp.finfo(norm.dtype).eps)) * norm
    rough = _series.missing(_series.square(sample.smooth), coefficients) / norm
    if sample.kinks is None:
        return Side(sample.means, coefficients, None, (), rough, rough, wrong)
    kinks = sample.kinks * (_series.column(np.arange(LONG), norm) < count)
    whole = coefficients + kinks
    tail = _series.missing(square, whole) / norm
    return Side(sample.means, whole, kinks, sample.keep, tail, rough, wrong)


def missing(left_tail: Array, right_tail: Array, left_rough: Array, right_rough: Array) -> Array:
    """Bound of Σ (a_j b_j - r_j r'_j) over the terms left out, a share of the norms (Cauchy–Schwarz).

    With a = d + r the terms are d_j b_j + r_j d'_j, and r's share is at most that of a and that of d.
    """
    return left_rough * right_tail + (left_tail + left_rough) * right_rough


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
