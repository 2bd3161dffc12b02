"""Mehler's series: one coefficient vector a side, a short polynomial in the correlation a pair.

For u = m₁ + s₁x, v = m₂ + s₂y with standard normal x, y of correlation ρ, Mehler's formula is

    E[f(u) g(v)] = Σ_j a_j b_j ρ^j,    a_j = E[f(m₁ + s₁x) h_j(x)],  b_j = E[g(m₂ + s₂y) h_j(y)],

h_j the orthonormal Hermite polynomials. The coefficients belong to one side; truncating or discretising them
leaves a Schur product of Gram matrices, so the result is positive semi-definite whatever the error.
Kinks make the coefficients decay slowly; their share r_j is known (`_edges`), and what it adds is an integral over the correlation
(`_segments`), so that the series keeps a_j b_j - r_j r'_j only.
"""

from collections.abc import Callable
from functools import lru_cache
from math import factorial, pi, sqrt
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

LONG = 256  # terms at most
STEP = 32  # terms that are computed between two looks at what is missing
REACH = 7.5
_BLOCK = 16
_FINE, _COARSE = (
    (0.5, 1.8, 18),
    (0.9, 2.3, 12),
)  # of a rule: widest panel, ratio and number of those shrinking towards 0
_CHECKED = 32  # coefficients compared


class Side(NamedTuple):
    """One side's share of the series of f, f', …, f⁽ⁿ⁾; errors are relative to √E[f⁽ⁿ⁾²]."""

    means: tuple[Array, ...]  # E[f⁽ⁱ⁾(u)] for i < n
    coefficients: Array  # (LONG, ...): E[f⁽ⁿ⁾(u) h_j]
    kinks: Array | None  # (LONG, ...): the share r_j of the kinks
    keep: tuple[Array, ...]  # of each order of kinks, 1 where it was taken off
    rough: Array  # root of the share of E[f⁽ⁿ⁾²] that the terms left out hold, of f⁽ⁿ⁾ without its kinks
    edged: Array  # the same of the kinks
    wrong: Array  # where the nodes do not resolve the function


@lru_cache(maxsize=4)
def _panel_rule(width: float, ratio: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre nodes and weights of N(0, 1): equal panels, and geometric ones towards 0 for structure of any scale."""
    x, w = np.polynomial.legendre.leggauss(10)
    right = np.concatenate(
        [[0.0], width * ratio ** -np.arange(count, 0.0, -1), np.arange(width, REACH, width), [REACH]]
    )
    edges = np.concatenate([-right[:0:-1], right])
    half, middle = 0.5 * np.diff(edges)[:, None], 0.5 * (edges[1:] + edges[:-1])[:, None]
    nodes = (middle + half * x).ravel()
    return nodes, (half * w).ravel() * np.exp(-0.5 * nodes * nodes) / sqrt(2 * pi)


@lru_cache(maxsize=4)
def _hermite_rows(rule: tuple[float, float, int], terms: int) -> np.ndarray:
    """w_n h_j(x_n), shape (terms, nodes)."""
    x, w = _panel_rule(*rule)
    rows = [np.ones_like(x), x]
    for j in range(1, terms - 1):
        rows.append((x * rows[j] - np.sqrt(j) * rows[j - 1]) / np.sqrt(j + 1))
    return np.stack(rows) * w


class Fixed:
    """The rule with fixed nodes, of which a coarser one beside it tells whether they resolve a function."""

    @staticmethod
    def nodes(like: Array) -> Array:
        """The nodes of the rule, then those of its check, along a leading axis."""
        return column(np.concatenate([_panel_rule(*_FINE)[0], _panel_rule(*_COARSE)[0]]), like)

    @staticmethod
    def mean(values: Array) -> Array:
        """E[f] from values at the nodes."""
        weight = _panel_rule(*_FINE)[1]
        return _dot(weight, values[: weight.size])

    @staticmethod
    def disagreement(values: Array) -> Array:
        """How far the rule and its check differ, over the first coefficients: the error of the check, far above the rule's own."""
        count = _panel_rule(*_FINE)[0].size
        fine = _dot(_hermite_rows(_FINE, _CHECKED), values[:count])
        return jnp.sqrt(jnp.sum((fine - _dot(_hermite_rows(_COARSE, _CHECKED), values[count:])) ** 2, 0))

    @staticmethod
    def coefficients(values: Array) -> Callable[[Array], Array]:
        """A function that gives the `STEP` coefficients from a number on."""

        def some(start: Array) -> Array:
            rows = jnp.asarray(_hermite_rows(_FINE, LONG), values.dtype)
            return _dot(lax.dynamic_slice_in_dim(rows, start, STEP), values[: rows.shape[1]])

        return some


class Panels(NamedTuple):
    """The rule whose panels follow the function, for one that keeps its structure far out: nodes and weights for each law."""

    x: Array
    weight: Array

    def nodes(self, like: Array) -> Array:
        return self.x

    def mean(self, values: Array) -> Array:
        return jnp.sum(self.weight * values, 0)

    def disagreement(self, values: Array) -> Array:
        """Where panels do not follow the function is known before (`Mesh.unresolved`)."""
        return jnp.zeros(values.shape[1:], values.dtype)

    def coefficients(self, values: Array) -> Callable[[Array], Array]:
        shares = self.weight * values

        def step(rows: tuple[Array, Array], j: Array) -> tuple[tuple[Array, Array], Array]:
            last, row = rows
            return (row, (self.x * row - jnp.sqrt(j) * last) / jnp.sqrt(j + 1)), jnp.sum(shares * row, 0)

        start = jnp.zeros_like(self.x), jnp.ones_like(self.x)
        found = lax.scan(step, start, jnp.arange(LONG, dtype=values.dtype))[1]
        return lambda start: lax.dynamic_slice_in_dim(found, start, STEP)


def _dot(rows: np.ndarray | Array, values: Array) -> Array:
    return jnp.tensordot(jnp.asarray(rows, values.dtype), values, 1, precision=lax.Precision.HIGHEST)


def panel_nodes(edges: Array) -> tuple[Array, Array]:
    """Nodes (panels × 10, ...) and weights of N(0, 1) between consecutive edges."""
    x, w = (column(a, edges) for a in np.polynomial.legendre.leggauss(10))
    half, middle = 0.5 * (edges[1:] - edges[:-1]), 0.5 * (edges[1:] + edges[:-1])
    nodes = middle[:, None] + half[:, None] * x[None].reshape(1, -1, *(1,) * (edges.ndim - 1))
    weight = half[:, None] * w.reshape(1, -1, *(1,) * (edges.ndim - 1)) * jnp.exp(-0.5 * nodes**2) / sqrt(2 * pi)
    flat = (-1, *edges.shape[1:])
    return nodes.reshape(flat), weight.reshape(flat)


def column(x: np.ndarray, like: Array) -> Array:
    """x along a leading axis before those of `like`, in its dtype."""
    return jnp.asarray(x, like.dtype).reshape((-1,) + (1,) * jnp.ndim(like))


def missing(square: Array, coefficients: Array) -> Array:
    """√(E[f²] - Σ_j a_j²) (Parseval), with rounding taken off."""
    kept = jnp.sum(coefficients**2, 0)
    return jnp.sqrt(jnp.maximum(square - kept - 16 * jnp.finfo(square.dtype).eps * square, 0))


def correlation(k11: Array, k22: Array, k12: Array) -> Array:
    """k₁₂/√(k₁₁k₂₂) clipped to [-1, 1]; 0 where a variance vanishes. No product of variances is formed first."""
    scale = _inverse_root(k11) * _inverse_root(k22)
    return jnp.clip(k12 * scale, -1, 1)


def _inverse_root(k: Array) -> Array:
    return jnp.where(k > 0, lax.rsqrt(jnp.where(k > 0, k, 1)), 0)


def evaluate(left: Side, right: Side, rho: Array, k12: Array, *, terms: Array, first: int) -> tuple[Array, ...]:
    """E[f⁽ⁱ⁾(u) g⁽ⁱ⁾(v)] for i = 0…n from c_j = a_j b_j - r_j r'_j (r counts from `first` on) of the highest derivative.

    Price's identity ∂E_i/∂k₁₂ = E_{i+1}, integrated i times from k₁₂ = 0, gives
    E_{n-m} = Σ_{r<m} E[f⁽ⁿ⁻ᵐ⁺ʳ⁾]E[g⁽ⁿ⁻ᵐ⁺ʳ⁾] k₁₂^r/r! + k₁₂^m Σ_j c_j ρ^j j!/(j+m)!,
    so all orders share the products c_j and none divides by a variance.
    """
    n = len(left.means)
    sums = _polynomials(left, right, rho, n, terms=terms, first=first)
    products = [a * b for a, b in zip(left.means, right.means, strict=True)]
    return tuple(_taylor(products[i:], sums[n - i], k12) for i in range(n + 1))


def _polynomials(left: Side, right: Side, rho: Array, orders: int, *, terms: Array, first: int) -> tuple[Array, ...]:
    """Σ_j c_j ρ^j j!/(j+m)! for m = 0…orders, by one Horner pass in blocks."""
    shape = jnp.broadcast_shapes(left.coefficients.shape[1:], right.coefficients.shape[1:], rho.shape)
    factors = jnp.asarray(_factors(LONG, orders), rho.dtype)
    pairs = [(left.coefficients, right.coefficients)]
    if left.kinks is not None and right.kinks is not None:
        kept = jnp.arange(LONG).reshape(-1, *(1,) * rho.ndim) >= first
        pairs.append((-left.kinks * kept, right.kinks))
    blocks = -(-terms // _BLOCK)

    def block(i: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        start = (blocks - 1 - i) * _BLOCK
        *some, factor = (lax.dynamic_slice_in_dim(x, start, _BLOCK) for x in (*sum(pairs, ()), factors))
        return _horner(sums, list(zip(some[::2], some[1::2], strict=True)), rho, factor)

    return lax.fori_loop(0, blocks, block, tuple(jnp.zeros(shape, rho.dtype) for _ in range(orders + 1)))


def _factors(terms: int, orders: int) -> np.ndarray:
    """j!/(j+m)!, shape (terms, orders + 1)."""
    j = np.arange(terms)[:, None] + np.arange(1, orders + 1)
    return np.concatenate([np.ones((terms, 1)), np.cumprod(1.0 / j, 1)], 1)


def _horner(sums: tuple[Array, ...], pairs: list[tuple[Array, Array]], rho: Array, factors: Array) -> tuple[Array, ...]:
    for j in reversed(range(_BLOCK)):
        c = sum(a[j] * b[j] for a, b in pairs)
        sums = tuple(s * rho + (c * factors[j, m] if m else c) for m, s in enumerate(sums))
    return sums


def _taylor(products: list[Array], remainder: Array, k12: Array) -> Array:
    total = remainder
    for r in reversed(range(len(products))):
        total = total * k12 + products[r] / factorial(r)
    return total
