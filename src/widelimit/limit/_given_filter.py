"""A nonlinearity of a depthwise convolution: a function of one Gaussian given the filter (`gaussian.expect_filtered`).

φ(x) with x = Σ_κ w_κ ⊙ h_κ + b: the w_κ entries of one parameter, the same at all positions, the h_κ and b Gaussian, centred h_κ,
independent of b and of the filter. Two such functions with the same filter need an integral over its entries alone, not over the
entries and both windows. For all others the sum of products is one function of all its factors (`_fuse`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array

from widelimit import gaussian
from widelimit import program as tp
from widelimit.limit._filters import has_filter
from widelimit.limit._fuse import base_of, function_of, number_of, opened
from widelimit.limit._labels import into, right_into
from widelimit.limit._positions import FusionError
from widelimit.limit._request import Request

_MOST = 16  # entries of a filter: the second moments of all pairs of them are asked for one by one


@dataclasses.dataclass(frozen=True, eq=False)
class Filtered:
    """φ(Σ_κ w_κ h_κ + Σ b)."""

    phi: gaussian.Pointwise
    filters: tuple[tp.Weight, ...]
    taps: tuple[tp.Value, ...]
    rest: tuple[tp.Value, ...]

    def has_filter_of(self, other: Filtered) -> bool:
        pairs = zip(self.filters, other.filters, strict=False)
        return len(self.filters) == len(other.filters) and all(a.same_entries(b) for a, b in pairs)


def filtered(value: tp.Value) -> Filtered | None:
    """A value as such a function, or None."""
    made = vars(value)
    if "_filtered" not in made:
        made["_filtered"] = _filtered(value) if has_filter(value) else None
    return made["_filtered"]


def _filtered(value: tp.Value) -> Filtered | None:
    if not isinstance(value, tp.Pointwise | tp.Image) or tp.is_stopped(value):
        return None
    try:
        inside = _arguments(value)
        terms = _terms(inside[0]) if inside is not None and len(inside) == 1 else None
    except FusionError:
        return None
    if terms is None or not _separate(*terms):
        return None
    phi, (products, rest) = function_of(value, inside[0]), terms
    if not _has_closed_forms(phi):
        return None
    return Filtered(phi, tuple(w for w, _ in products), tuple(h for _, h in products), tuple(rest))


def _has_closed_forms(phi: gaussian.Pointwise) -> bool:
    """Whether one filter costs little; φ without jumps, whose derivative backpropagation takes."""
    slope = gaussian.derivative(phi, 0)
    return not gaussian.jumps(phi, ()) and all(gaussian.describe(f).error == 0 for f in (phi, slope))


def _arguments(value: tp.Value) -> list[tp.Value] | None:
    """The linear values that a chain of functions is made of; None where known arrays enter it."""
    found: dict[int, tp.Value] = {}
    stack: list[Any] = [opened(value)]
    while stack:
        x = stack.pop()
        x = x.known if isinstance(x, tp.Given) else x
        if number_of(x) is not None:
            continue
        if not isinstance(x, tp.Value) or isinstance(x, tp.Profile):
            return None
        if x.is_gaussian or _terms(base_of(x)) is not None:
            found[id(base_of(x))] = base_of(x)
        else:
            stack.extend(tp.ingredients(opened(x)))
    return list(found.values())


Terms = tuple[list[tuple[tp.Weight, tp.Value]], list[tp.Value]]


def _terms(x: tp.Value) -> Terms | None:
    """The products with entries of a filter, and the Gaussian terms, of a sum; None where it is no such sum."""
    if x.is_gaussian:
        return [], [x]
    x = opened(x)
    if isinstance(x, tp.Scaled):
        return _multiple(x)
    if isinstance(x, tp.Product):
        found = _product(x)
        return None if found is None else ([found], [])
    if not isinstance(x, tp.Sum):
        return None
    parts = [_terms(t) for t in x.terms]
    if any(p is None for p in parts):
        return None
    return [w for p in parts for w in p[0]], [b for p in parts for b in p[1]]


def _multiple(x: tp.Scaled) -> Terms | None:
    found = _terms(x.h)
    if found is None:
        return None

    def times(h: tp.Value) -> tp.Value:
        return tp.Scaled(x.shape, x.where, x.known, h)

    return [(w, times(h)) for w, h in found[0]], [times(b) for b in found[1]]


def _product(x: tp.Product) -> tuple[tp.Weight, tp.Value] | None:
    """w_κ and h_κ, where w_κ is one vector for all positions."""
    if len(x.factors) != 2:
        return None
    for w, h in (x.factors, x.factors[::-1]):
        source = w.h if isinstance(w, tp.Image) else w
        if isinstance(source, tp.Vector) and not source.shape and h.is_gaussian:
            return source.weight, h
    return None


def _separate(products: Sequence[tuple[tp.Weight, tp.Value]], rest: Sequence[tp.Value]) -> bool:
    """Whether filter, windows and rest are independent, the windows centred, and the entries different ones of one parameter."""
    filters, taps = [w for w, _ in products], [h for _, h in products]
    apart = all(a.has_other_entries(b) for i, a in enumerate(filters) for b in filters[:i])
    others = [u for h in (*taps, *rest) for u in tp.draws(h)]
    return (
        1 < len(filters) <= _MOST
        and len({w.path for w in filters}) == 1
        and apart
        and all(w.has_other_entries(u) for w in filters for u in others)
        and all(h.is_centred for h in taps)
        and all(tp.independent(h, b) for h in taps for b in rest)
    )


def both_filtered(left: Sequence[tp.Value], right: Sequence[tp.Value]) -> tuple[Filtered, Filtered | None] | None:
    """Both sides of an expectation as functions with one filter; the second may be missing."""
    if len(left) != 1 or len(right) > 1:
        return None
    phi, psi = filtered(left[0]), filtered(right[0]) if right else None
    if phi is None or (right and (psi is None or not phi.has_filter_of(psi))):
        return None
    return phi, psi


def given_filter(recursion: Any, phi: Filtered, psi: Filtered | None, r: Request) -> Array:
    """E[φψ] in the axes of the request, or E[φ]."""
    other, one = phi if psi is None else psi, r if psi is not None else r.between(r.u, r.u, (0, 0))
    matrices = [_moments(recursion, a, b, one, ends) for a, b, ends in _pairs(phi, other)]
    path = phi.filters[0].path
    law = gaussian.Filtered(recursion.variances[path], *matrices, *_rest(recursion, phi, other, one))
    f, g = phi.phi, gaussian.ONE if psi is None else psi.phi
    covariance = recursion.covariance(path, one.sides)
    value = gaussian.expect_filtered(f, g, law, covariance, accuracy=recursion.accuracy)
    return recursion._cast(value if psi is not None else into(value, r))


def _pairs(phi: Filtered, psi: Filtered) -> list[tuple[Filtered, Filtered, tuple[int, int]]]:
    return [(phi, phi, (0, 0)), (phi, psi, (0, 1)), (psi, psi, (1, 1))]


def _moments(recursion: Any, phi: Filtered, psi: Filtered, r: Request, ends: tuple[int, int]) -> Array:
    """Amplitudes times E[h_κ h'_λ], (κ, λ, *positions)."""
    rows = [[_placed(recursion, (a, b), r, ends) for b in psi.taps] for a in phi.taps]
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for row in rows for x in row))
    matrix = jnp.stack([jnp.stack([jnp.broadcast_to(x, shape) for x in row]) for row in rows])
    amplitudes = [jnp.asarray([w.amplitude for w in f.filters], recursion.dtype) for f in (phi, psi)]
    return matrix.astype(recursion.dtype) * jnp.multiply.outer(*amplitudes).reshape(
        *matrix.shape[:2], *[1] * len(shape)
    )


def _placed(recursion: Any, pair: tuple[tp.Value, tp.Value], r: Request, ends: tuple[int, int]) -> Array:
    place = {(0, 0): into, (1, 1): right_into, (0, 1): lambda a, _: a}[ends]
    value = recursion.second(r.between(*pair, ends, centred=True))
    return jnp.zeros([1] * len(r.shape), recursion.dtype) if value is None else place(value, r)


def _rest(recursion: Any, phi: Filtered, psi: Filtered, r: Request) -> tuple[tuple, tuple]:
    """β, γ, β', and the means."""
    covariances = tuple(
        sum((_placed(recursion, (a, b), r, ends) for a in f.rest for b in g.rest), jnp.zeros((), recursion.dtype))
        for f, g, ends in _pairs(phi, psi)
    )
    means = [[recursion.mean(b, s) for b in f.rest] for f, s in zip((phi, psi), r.sides, strict=True)]
    left, right = ([m for m in row if m is not None] for row in means)
    return covariances, (into(sum(left), r) if left else None, right_into(sum(right), r) if right else None)
