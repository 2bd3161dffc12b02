"""The integral over the plane: slow, and right for every variance, correlation, mean and kink.

E[f(u) g(v)] = E_x[f(m₁ + s₁x) E_y[g(m₂ + s₂(ρx + √(1-ρ²) y))]], x and y independent and standard, both integrals by
Gauss–Legendre panels between marks: the kinks, a geometric grid around them (structure of any scale), the
normal density's own scale, and for the outer integral also the kinks of the inner function, seen through ρ.
"""

from collections.abc import Callable
from functools import reduce
from math import pi, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian._mesh import Mesh
from widelimit.gaussian._series import correlation

_REACH = 7.5  # standard deviations: what lies outside is 6e-14 of the mass
_DENSITY_MARKS = (-7.5, -5.0, -2.5, 0.0, 2.5, 5.0, 7.5)
_BLUR = (-6.0, -2.5, -1.0, 1.0, 2.5, 6.0)
_INNER = (-7.5, -4.5, -2.0, 0.0, 2.0, 4.5, 7.5)
POINTS, FEWER = 10, 7  # nodes a panel; of the check
Functions = tuple[Callable[[Array], Array], ...]


class Law(NamedTuple):
    """Joint law of one Gaussian a side; all arrays broadcast against each other; a mean `None` is zero."""

    k11: Array
    k22: Array
    k12: Array
    m1: Array | None
    m2: Array | None


def over_plane(
    left: Functions, right: Functions, law: Law, meshes: tuple[Mesh, Mesh], *, points: int = POINTS
) -> tuple[Array, ...]:
    """E[f⁽ⁱ⁾(u) g⁽ⁱ⁾(v)] for the stacks f, g of equal length, with so many nodes a panel."""
    law = _full(law)
    rho = correlation(law.k11, law.k22, law.k12)
    s1, s2 = jnp.sqrt(jnp.maximum(law.k11, 0)), jnp.sqrt(jnp.maximum(law.k22, 0))
    gap = (1 - rho) * (1 + rho)
    blur = jnp.where(gap > 8 * jnp.finfo(rho.dtype).eps, jnp.sqrt(gap), 0)
    seen = _seen_through(meshes[1], rho * s2, blur * s2, law.m2)
    outer = _edges(_scaled(meshes[0].marks, s1, law.m1), *seen)

    marks = _column(meshes[1].marks, rho)
    spread = jnp.where(blur > 0, s2 * blur, 1)

    def inner(x: Array) -> tuple[Array, ...]:
        centre = law.m2 + s2 * rho * x
        edges = _merged(jnp.clip((marks - centre) / spread, -_REACH, _REACH), _INNER)
        smooth = _panels(edges, lambda y: tuple(g(centre + spread * y) for g in right), points, jnp.any(blur > 0))
        sharp = (g(centre) for g in right)
        return tuple(jnp.where(blur > 0, a, b) for a, b in zip(smooth, sharp, strict=True))

    def integrand(x: Array) -> tuple[Array, ...]:
        return tuple(f(law.m1 + s1 * x) * g for f, g in zip(left, inner(x), strict=True))

    return _nodes(outer, integrand, len(left), points)


def _full(law: Law) -> Law:
    m1 = jnp.zeros_like(law.k12) if law.m1 is None else law.m1
    m2 = jnp.zeros_like(law.k12) if law.m2 is None else law.m2
    shape = jnp.broadcast_shapes(*(x.shape for x in (law.k11, law.k22, law.k12, m1, m2)))
    return Law(*(jnp.broadcast_to(x, shape) for x in (law.k11, law.k22, law.k12, m1, m2)))


def _scaled(points: tuple[float, ...] | Array, scale: Array, centre: Array) -> Array:
    """The points in standard units of N(centre, scale²), clipped; far away where the scale vanishes."""
    column = _column(points, scale)
    tiny = jnp.finfo(scale.dtype).tiny * 1e10
    scale = jnp.where(jnp.abs(scale) > tiny, scale, tiny)
    return jnp.clip((column - centre) / scale, -_REACH, _REACH)


def _column(points: tuple[float, ...] | np.ndarray | Array, like: Array) -> Array:
    if isinstance(points, Array):
        return points
    return jnp.asarray(np.asarray(points), like.dtype).reshape((-1,) + (1,) * like.ndim)


def _seen_through(mesh: Mesh, slope: Array, blur: Array, centre: Array) -> list[Array]:
    """Outer marks of the inner function smoothed by `blur`: its own, and its centres' at the scale of the blur."""
    places, steps = _column(mesh.centres, blur)[:, None], _column(_BLUR, blur) * blur
    seen = (places + steps).reshape(-1, *blur.shape)
    return [_scaled(mesh.marks, slope, centre), _scaled(seen, slope, centre)]


def _merged(marks: Array, more: tuple[float, ...]) -> Array:
    """The marks, sorted along the leading axis, with more: the k-th smallest is min over i + j = k of max(marks_i, more_j)."""
    n, m, shape = marks.shape[0], len(more), marks.shape[1:]
    low, high = (jnp.full((1, *shape), x, marks.dtype) for x in (-jnp.inf, jnp.inf))
    padded = jnp.concatenate([high] * (m - 1) + [low, marks] + [high] * m)
    candidates = (jnp.maximum(padded[m - j : m - j + n + m], x) for j, x in enumerate((-np.inf, *more)))
    return reduce(jnp.minimum, candidates)


def _edges(*groups: Array, density: tuple[float, ...] = _DENSITY_MARKS) -> Array:
    first = groups[0]
    base = jnp.asarray(density, first.dtype).reshape((-1,) + (1,) * (first.ndim - 1))
    base = jnp.broadcast_to(base, (base.shape[0], *first.shape[1:]))
    return jnp.sort(jnp.concatenate([base, *groups]), 0)


def side_edges(mesh: Mesh, mean: Array | None, variance: Array, spacing: float) -> Array:
    """Panel ends in standard units of N(mean, variance): the mesh, and marks no further apart than `spacing`."""
    mean = jnp.zeros_like(variance) if mean is None else mean
    mean, variance = jnp.broadcast_arrays(mean, variance)
    marks = _scaled(mesh.marks, jnp.sqrt(jnp.maximum(variance, 0)), mean)
    count = int(np.ceil(2 * _REACH / spacing))
    return _edges(marks, density=tuple(np.linspace(-_REACH, _REACH, count + 1)))


def _density(x: Array) -> Array:
    return jnp.exp(-0.5 * x * x) * (1 / sqrt(2 * pi))


def _panels(edges: Array, integrand: Callable, points: int, wanted: Array) -> tuple[Array, ...]:
    """∫ integrand(x) N(x; 0, 1) dx if wanted, a panel at a time, its nodes along a leading axis."""
    count = len(jax.eval_shape(integrand, edges[0]))
    x, w = np.polynomial.legendre.leggauss(points)
    x, w = _column(x, edges[0]), _column(w, edges[0])
    first, last = _extent(edges)

    def add(p: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        half, middle = 0.5 * (edges[p + 1] - edges[p]), 0.5 * (edges[p + 1] + edges[p])
        y = middle + half * x
        weight = w * half * _density(y)
        return tuple(s + jnp.sum(weight * f, 0) for s, f in zip(sums, integrand(y), strict=True))

    zeros = tuple(jnp.zeros(edges.shape[1:], edges.dtype) for _ in range(count))
    return lax.fori_loop(jnp.where(wanted, first, last), last, add, zeros)


def _extent(edges: Array) -> tuple[Array, Array]:
    """First and one past the last panel that has a width anywhere: marks out of reach lie at the ends."""
    axes = tuple(range(1, edges.ndim))
    first = jnp.sum(jnp.all(edges <= -_REACH, axes)) - 1
    return first, edges.shape[0] - jnp.sum(jnp.all(edges >= _REACH, axes))


def _nodes(edges: Array, integrand: Callable, count: int, points: int) -> tuple[Array, ...]:
    """As `_panels`, a node at a time: the integrand is itself an integral."""
    x, w = (jnp.asarray(a, edges.dtype) for a in np.polynomial.legendre.leggauss(points))

    def add(index: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        p, q = index // points, index % points
        half = 0.5 * (edges[p + 1] - edges[p])
        y = 0.5 * (edges[p + 1] + edges[p]) + half * x[q]
        weight = w[q] * half * _density(y)
        return tuple(s + weight * f for s, f in zip(sums, integrand(y), strict=True))

    zeros = tuple(jnp.zeros(edges.shape[1:], edges.dtype) for _ in range(count))
    first, last = _extent(edges)
    return lax.fori_loop(first * points, last * points, add, zeros)
