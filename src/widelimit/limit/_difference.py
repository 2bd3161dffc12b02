"""Squared differences E[(Z^u(x) − Z^v(x'))²], carried beside the second moments.

The angle between nearly equal Gaussians is the root of what k11 + k22 − 2c says, and a rounding error ε in c is an error
√ε in it. But the difference of two inputs is known to all its digits, and follows its own recursion: the difference of
two linear images is the image of the difference (W h − W h' = W(h − h')), a bias that both share drops out, and for
functions of the rectified family E[(φ(u) − φ(v))²] is a closed form in E[(u − v)²] (`gaussian.squared_difference`).

A gap is an array in the axes of its request; 0.0 where it is zero by structure; None where there is no rule, and then
the angle is taken from the second moments alone. Gaps are only a better way to compute what the second moments determine:
no derivative is taken of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit import gaussian
from widelimit import program as tp
from widelimit.limit._filters import has_filter
from widelimit.limit._fuse import fused, one_function
from widelimit.limit._images import maps_of, source_of, sources, split_for_maps, through_both
from widelimit.limit._labels import diagonal_of, free_axes, into, placed, right_into
from widelimit.limit._near import squared_distances
from widelimit.limit._request import Request, same_positions
from widelimit.limit._weights import (
    contracted,
    kept,
    new_axes,
    shares,
    source_request,
    split_for_weights,
    taps,
    vectors,
)

Gap = Array | float | None


def gap_of(recursion: Any, r: Request) -> Gap:
    """E[(Z^u(x_s) − Z^v(x_t))²] as requested; with `r.centred` of the centred parts."""
    u, v = r.u, r.v
    if u is v and r.sides[0] == r.sides[1] and r.match == same_positions(u):
        return 0.0
    if has_filter(u) or has_filter(v):
        return None
    match u, v:
        case tp.Sum(), tp.Sum() if not one_function(u) and not one_function(v):
            return _of_sums(recursion, r)
        case tp.Scaled(), tp.Scaled():
            return _of_multiples(recursion, r)
        case tp.Given(), tp.Given():
            return 0.0 if r.centred else _of_data(recursion, r)
        case (tp.Image(), _) | (_, tp.Image()):
            return _where_matched(recursion, r, split_for_maps(r), _of_images)
        case tp.MatMul(), tp.MatMul():
            return _where_matched(recursion, r, split_for_weights(r), _of_products)
        case tp.Vector(), tp.Vector():
            return _of_vectors(recursion, r)
        case ((tp.Pointwise() | tp.Product() | tp.Sum()), (tp.Pointwise() | tp.Product() | tp.Sum())):
            return _of_functions(recursion, r)
    return None


def _where_matched(recursion: Any, r: Request, split: frozenset[int], rule: Callable[[Any, Request], Gap]) -> Gap:
    if not split:
        return rule(recursion, r)
    gap = recursion.gap(r.unmatched(split))
    return diagonal_of(gap, r, split) if isinstance(gap, Array) else gap


def _own(recursion: Any, u: tp.Value, side: int, *, centred: bool) -> Array | float:
    """E[(Z^u)²] at each position."""
    k = recursion.second(Request(u, u, (side, side), same_positions(u), centred))
    return 0.0 if k is None else lax.stop_gradient(k)


def second_moments(recursion: Any, r: Request) -> tuple[Array | float, Array | float]:
    """E[(Z^u)²] and E[(Z^v)²] in the axes of the request."""
    k11, k22 = (_own(recursion, x, s, centred=r.centred) for x, s in zip((r.u, r.v), r.sides, strict=True))
    return (into(k11, r) if isinstance(k11, Array) else k11), (right_into(k22, r) if isinstance(k22, Array) else k22)


def _known(recursion: Any, known: tp.Known, side: int) -> Array:
    return lax.stop_gradient(recursion.known(known, side))


# --- linear values --------------------------------------------------------------------------------------------------------


def _of_sums(recursion: Any, r: Request) -> Gap:
    """Σ of the terms' gaps, where different terms are independent."""
    pairs = list(zip(r.u.terms, r.v.terms, strict=False))
    if len(r.u.terms) != len(r.v.terms) or not _independent(recursion, r):
        return None
    gaps = [recursion.gap(r.replace(u=a, v=b)) for a, b in pairs]
    return None if any(g is None for g in gaps) else sum(g for g in gaps if isinstance(g, Array)) if gaps else 0.0


def _independent(recursion: Any, r: Request) -> bool:
    """Whether E[Z^a Z^b] is zero by structure for different terms, on either side and between them."""
    n = len(r.u.terms)
    others = [(i, j) for i in range(n) for j in range(n) if i != j]
    (s, t), (u, v) = r.sides, (r.u.terms, r.v.terms)
    asked = [r.replace(u=u[i], v=v[j]) for i, j in others]
    asked += [
        Request(x[i], x[j], (side, side), same_positions(x[j]), r.centred)
        for x, side in ((u, s), (v, t))
        for i, j in others
        if i < j
    ]
    return all(recursion.second(q) is None for q in asked)


def _of_multiples(recursion: Any, r: Request) -> Gap:
    """E[(s Z − t Z')²] = s t E[(Z − Z')²] + (s − t)(s E[Z²] − t E[Z'²]): both factors of the last part are small."""
    gap = recursion.gap(r.replace(u=r.u.h, v=r.v.h))
    if gap is None:
        return None
    s, t = into(_known(recursion, r.u.known, r.sides[0]), r), right_into(_known(recursion, r.v.known, r.sides[1]), r)
    if r.u.known is r.v.known and _same_everywhere(r.u.known, r):
        return s * t * gap if isinstance(gap, Array) else 0.0
    k11, k22 = second_moments(recursion, r.replace(u=r.u.h, v=r.v.h))
    return s * t * gap + (s - t) * (s * k11 - t * k22)


def _same_everywhere(known: tp.Known, r: Request) -> bool:
    """Whether a factor is the same for both positions of every pair."""
    if not isinstance(known, tp.Constant) or not known.value.size:
        return False
    return r.match == same_positions(r.u) or bool(np.all(known.value == known.value.flat[0]))


def _of_data(recursion: Any, r: Request) -> Array:
    a, b = (jnp.broadcast_to(_known(recursion, x.known, s), x.shape) for x, s in zip((r.u, r.v), r.sides, strict=True))
    return jnp.broadcast_to((into(a, r) - right_into(b, r)) ** 2, r.shape)


def _of_vectors(recursion: Any, r: Request) -> Gap:
    """2(σ_b² − c_b) amplitude² at equal positions, where the entries are the same; at others they are independent."""
    u, v = r.u, r.v
    if not shares(u.weight, v.weight) or u.weight.amplitude != v.weight.amplitude:
        return None
    if r.match == same_positions(u) and recursion.apart(u.weight.path, r.sides) is None:
        return 0.0
    variance = lax.stop_gradient(recursion.variances[u.weight.path]) * u.weight.amplitude**2
    return 2 * (variance - lax.stop_gradient(recursion.second(r)))


# --- images ---------------------------------------------------------------------------------------------------------------


def _of_images(recursion: Any, r: Request) -> Gap:
    """The image of the gap, where the maps only move positions; between a position and a zero, the other's second moment."""
    if not all(_traceable(m) for x in (r.u, r.v) for m in maps_of(x)):
        return None
    inner = sources(r)
    gap = recursion.gap(inner)
    there = [_occupied(x) for x in (r.u, r.v)]
    if not isinstance(gap, Array):
        return gap if there == [None, None] else None
    gap = through_both(recursion, gap, inner.match, r)
    k11, k22 = second_moments(recursion, r) if there != [None, None] else (0.0, 0.0)
    if there[1] is not None:
        gap = gap + k11 * (1 - right_into(there[1].astype(gap.dtype), r))
    return gap if there[0] is None else gap + k22 * (1 - into(there[0].astype(gap.dtype), r))


def _traceable(m: tp.AxisMap) -> bool:
    """Whether a map only moves positions, and where it puts zeros does not depend on the example."""
    return m.selection and (m.matrix is None or m.key[-1] is None)


def _occupied(value: tp.Value) -> Array | None:
    """1 where an image reads a position, 0 where it is padded; None where it reads one everywhere."""
    maps = maps_of(value)
    if not any(isinstance(m.key, tuple) and m.key[0] in ("pad", "pick", "read") for m in maps):
        return None
    with jax.ensure_compile_time_eval():
        ones = np.asarray(tp.apply_maps(jnp.ones(source_of(value).shape), maps, lambda m: np.zeros(m.shape, int)))
    return None if ones.all() else jnp.asarray(ones)


# --- products with weights --------------------------------------------------------------------------------------------------


def _of_products(recursion: Any, r: Request) -> Gap:
    """σ_W² Σ E[(Z^h − Z^h')²]; for copies of W with covariance c: c Σ E[(Z^h − Z^h')²] + (σ_W² − c) Σ (E[(Z^h)²] + E[(Z^h')²])."""
    u, v = r.u, r.v
    if not shares(u.weight, v.weight) or u.weight.amplitude != v.weight.amplitude:
        return None
    if any(r.match[j] != i for i, j in zip(u.independent, v.independent, strict=True)):
        return None
    gap, apart, bordered = _of_sources(recursion, r), recursion.apart(u.weight.path, r.sides), _is_bordered(r)
    if not isinstance(gap, Array):
        return None if apart is not None or bordered else gap
    moments = _source_moments(recursion, r) if bordered or apart is not None else None
    gap, moments = _slid(gap, moments, r)
    square = u.weight.amplitude**2
    gap = gap * (lax.stop_gradient(recursion.covariance(u.weight.path, r.sides)) * square)
    if apart is not None:
        gap = gap + apart * square * (moments[0] + moments[1])
    return jnp.broadcast_to(new_axes(gap, r), r.shape)


def _of_sources(recursion: Any, r: Request) -> Gap:
    """Σ over the contracted axes."""
    if isinstance(r.u.h, tp.Given) and isinstance(r.v.h, tp.Given):
        return _of_contracted_data(recursion, r)
    gap = recursion.gap(source_request(r))
    return gap.sum(r.u.contracted) if isinstance(gap, Array) else gap


def _of_contracted_data(recursion: Any, r: Request) -> Array:
    q = source_request(r)
    a, b = (jnp.broadcast_to(_known(recursion, x.known, s), x.shape) for x, s in zip((q.u, q.v), q.sides, strict=True))
    a, b = vectors(into(a, q), r.u.contracted), vectors(right_into(b, q), r.u.contracted)

    def products() -> tuple[Array, Array, Array]:
        return jnp.sum(a * a, -1), lax.stop_gradient(recursion.data_product(r)), jnp.sum(b * b, -1)

    return squared_distances(a, b, products)


def _source_moments(recursion: Any, r: Request) -> tuple[Array, Array]:
    """Σ E[(Z^h)²] of both sides over the contracted axes, in the axes of the sources' gap."""
    (s, t), rank = r.sides, len(kept(r.u))
    left = contracted(recursion, Request(r.u, r.u, (s, s), same_positions(r.u)))
    right = contracted(recursion, Request(r.v, r.v, (t, t), same_positions(r.v)))
    match = r.match[: len(kept(r.v))]
    left, right = (lax.stop_gradient(jnp.zeros(()) if k is None else k) for k in (left, right))
    return left.reshape(*left.shape, *[1] * len(free_axes(match))), placed(right, rank, match)


def _is_bordered(r: Request) -> bool:
    """Whether a tap may read a zero on one side and a position on the other."""
    return any(len(axes) == 2 and _pads(window) for window, axes in taps(r))


def _pads(window: tp.Window) -> bool:
    return (window.low, window.high, window.base_dilation) != (0, 0, 1)


def _slid(gap: Array, moments: tuple[Array, Array] | None, r: Request) -> tuple[Array, tuple[Array, Array] | None]:
    """Σ over the taps of the gap, and of the moments beside it."""
    if not _is_bordered(r):
        return tp.sum_of_taps(gap, taps(r)), None if moments is None else _slid_moments(moments, r)
    for window, axes in taps(r):
        size = [gap.shape[i] for i in axes]
        gap = window.sum(gap, *axes)
        if len(axes) == 2 and _pads(window):
            (left, right), (i, j) = moments, axes
            gap = gap + _at_border(window, left, (i, j), size[1]) + _at_border(window, right, (j, i), size[0])
        moments = window.sum(moments[0], axes[0]), window.sum(moments[1], axes[-1])
    return gap, moments


def _slid_moments(moments: tuple[Array, Array], r: Request) -> tuple[Array, Array]:
    left, right = ([(window, (axes[end],)) for window, axes in taps(r)] for end in (0, -1))
    return tp.sum_of_taps(moments[0], left), tp.sum_of_taps(moments[1], right)


def _at_border(window: tp.Window, k: Array, axes: tuple[int, int], size: int) -> Array:
    """Σ over the taps of a moment along one axis, where the other axis, of this size, is outside."""
    i, j = axes
    length, other = window.length(k.shape[i]), window.length(size)
    inside = jnp.ones([size if axis == j else 1 for axis in range(k.ndim)], k.dtype)
    k, outside = window.pad(k, i), 1 - window.pad(inside, j)
    return sum(window.tap(k, i, n, length) * window.tap(outside, j, n, other) for n in range(window.size))


# --- signs ---------------------------------------------------------------------------------------------------------------


def is_positive(u: tp.Value) -> bool:
    """Whether E[Z^u Z^u'] >= 0 is known for all positions and inputs: the sources of its products are not negative.

    For sums this takes the terms to be independent, as they are where there is a gap.
    """
    match u:
        case tp.MatMul():
            return is_positive(u.h)
        case tp.Vector():
            return True
        case tp.Sum() if u.is_gaussian:
            return all(map(is_positive, u.terms))
        case tp.Image() if all(m.selection for m in u.maps):
            return is_positive(u.h)
        case tp.Pointwise() | tp.Product() | tp.Sum():
            phi = fused((u,))
            return not phi.params and gaussian.is_nonnegative(phi.phi)
    return False


# --- functions --------------------------------------------------------------------------------------------------------------


def _of_functions(recursion: Any, r: Request) -> Gap:
    """By closed form together with E[φψ]; of any other function, zero where its arguments are equal."""
    value = recursion.second(r)
    phi, psi = fused((r.u,)), fused((r.v,))
    found = recursion.carried(phi, psi, r)
    return found if found is not None else _unless_equal(recursion, r, value)


def _unless_equal(recursion: Any, r: Request, value: Array | None) -> Gap:
    """k11 + k22 − 2c, but 0 for equal arguments."""
    phi = fused((r.u,))
    if r.u is not r.v or phi.params:
        return None
    gaps = [recursion.gap(r.between(b, b, (0, 1))) for b in phi.bases]
    if any(g is None for g in gaps):
        return None
    arrays = [g for g in gaps if isinstance(g, Array)]
    if not arrays:
        return 0.0
    k11, k22 = second_moments(recursion, r)
    rest = k11 + k22 - 2 * (0.0 if value is None else lax.stop_gradient(value))
    return jnp.broadcast_to(jnp.where(sum(arrays) == 0, 0, jnp.maximum(rest, 0)), r.shape)
