"""Mehler's series: one coefficient vector a side, a short polynomial in the correlation a pair.

For u = m₁ + s₁x, v = m₂ + s₂y with standard normal x, y of correlation ρ, Mehler's formula is

    E[f(u) g(v)] = Σ_j a_j b_j ρ^j,    a_j = E[f(m₁ + s₁x) h_j(x)],  b_j = E[g(m₂ + s₂y) h_j(y)],

h_j the orthonormal Hermite polynomials. The coefficients belong to one side; truncating or discretising them
leaves a Schur product of Gram matrices, so the result is positive semi-definite whatever the error.
"""

from collections.abc import Callable
from functools import lru_cache
from math import factorial, pi, sqrt
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_BLOCK, _UNROLLED = 16, 2


class Side(NamedTuple):
    """One side's share of the series of f, f', …, f⁽ⁿ⁾."""

    means: tuple[Array, ...]  # E[f⁽ⁱ⁾(u)] for i < n
    coefficients: Array  # (terms, ...): E[f⁽ⁿ⁾(u) h_j]
    tail: Array  # share of E[f⁽ⁿ⁾(u)²] that the kept terms miss, in [0, 1]


@lru_cache(maxsize=16)
def hermite_rule(terms: int, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss–Hermite nodes x (N,), weights w (N,) of N(0, 1), and the matrix w_n h_j(x_n) (terms, N)."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    rows = [np.sqrt(w), np.sqrt(w) * x]
    for j in range(1, terms):
        rows.append((x * rows[j] - np.sqrt(j) * rows[j - 1]) / np.sqrt(j + 1))
    return x, w, np.stack(rows[:terms]) * np.sqrt(w)


def side(functions: tuple[Callable, ...], mean: Array | None, variance: Array, *, terms: int, nodes: int) -> Side:
    """Coefficients of a stack (f, …, f⁽ⁿ⁾) under N(mean, variance), by Gauss–Hermite quadrature."""
    x, w, rows = hermite_rule(terms, nodes)
    u = jnp.sqrt(jnp.maximum(variance, 0)) * _column(x, variance)
    u = u if mean is None else u + mean
    values = [f(u) for f in functions]
    weight = jnp.asarray(w, u.dtype)
    means = tuple(jnp.tensordot(weight, v, 1, precision=lax.Precision.HIGHEST) for v in values[:-1])
    top = values[-1]
    coefficients = jnp.tensordot(jnp.asarray(rows, u.dtype), top, 1, precision=lax.Precision.HIGHEST)
    return Side(means, coefficients, _tail(coefficients, jnp.tensordot(weight, top**2, 1)))


def careful_side(
    functions: tuple[Callable, ...], mean: Array | None, variance: Array, edges: Array, *, terms: int
) -> Side:
    """As `side`, by Gauss–Legendre panels between the given edges (in standard units): for functions of any scale."""
    x, weight = panel_nodes(edges)
    u = jnp.sqrt(jnp.maximum(variance, 0)) * x
    u = u if mean is None else u + mean
    values = [f(u) for f in functions]
    means = tuple(jnp.sum(weight * v, 0) for v in values[:-1])
    weighted = weight * values[-1]

    def term(previous: tuple[Array, Array], j: Array) -> tuple[tuple[Array, Array], Array]:
        h0, h1 = previous
        h2 = (x * h1 - jnp.sqrt(j) * h0) / jnp.sqrt(j + 1)
        return (h1, h2), jnp.sum(weighted * h1, 0)

    start = jnp.zeros_like(x), jnp.ones_like(x)
    coefficients = lax.scan(term, start, jnp.arange(terms, dtype=x.dtype))[1]
    return Side(means, coefficients, _tail(coefficients, jnp.sum(weighted * values[-1], 0)))


def panel_nodes(edges: Array) -> tuple[Array, Array]:
    """Nodes (panels × 10, ...) and weights of N(0, 1) between consecutive edges."""
    x, w = (_column(a, edges) for a in np.polynomial.legendre.leggauss(10))
    half, middle = 0.5 * (edges[1:] - edges[:-1]), 0.5 * (edges[1:] + edges[:-1])
    nodes = middle[:, None] + half[:, None] * x[None].reshape(1, -1, *(1,) * (edges.ndim - 1))
    weight = half[:, None] * w.reshape(1, -1, *(1,) * (edges.ndim - 1)) * jnp.exp(-0.5 * nodes**2) / sqrt(2 * pi)
    flat = (-1, *edges.shape[1:])
    return nodes.reshape(flat), weight.reshape(flat)


def _column(x: np.ndarray, like: Array) -> Array:
    return jnp.asarray(x, like.dtype).reshape((-1,) + (1,) * jnp.ndim(like))


def _tail(coefficients: Array, square: Array) -> Array:
    """Parseval: what Σ_j a_j² lacks of E[f²], as a share."""
    missing = jnp.maximum(square - jnp.sum(coefficients**2, 0), 0)
    return missing / jnp.where(square > 0, square, 1)


def correlation(k11: Array, k22: Array, k12: Array) -> Array:
    """k₁₂/√(k₁₁k₂₂) clipped to [-1, 1]; 0 where a variance vanishes. No product of variances is formed first."""
    scale = _inverse_root(k11) * _inverse_root(k22)
    return jnp.clip(k12 * scale, -1, 1)


def _inverse_root(k: Array) -> Array:
    return jnp.where(k > 0, lax.rsqrt(jnp.where(k > 0, k, 1)), 0)


def evaluate(left: Side, right: Side, rho: Array, k12: Array) -> tuple[Array, ...]:
    """E[f⁽ⁱ⁾(u) g⁽ⁱ⁾(v)] for i = 0…n from the coefficients c_j = a_j b_j of the highest derivative.

    Price's identity ∂E_i/∂k₁₂ = E_{i+1}, integrated i times from k₁₂ = 0, gives
    E_{n-m} = Σ_{r<m} E[f⁽ⁿ⁻ᵐ⁺ʳ⁾]E[g⁽ⁿ⁻ᵐ⁺ʳ⁾] k₁₂^r/r! + k₁₂^m Σ_j c_j ρ^j j!/(j+m)!,
    so all orders share the products c_j and none divides by a variance.
    """
    n = len(left.means)
    sums = _polynomials(left.coefficients, right.coefficients, rho, n)
    products = [a * b for a, b in zip(left.means, right.means, strict=True)]
    return tuple(_taylor(products[i:], sums[n - i], k12) for i in range(n + 1))


def _polynomials(a: Array, b: Array, rho: Array, orders: int) -> tuple[Array, ...]:
    """Σ_j a_j b_j ρ^j j!/(j+m)! for m = 0…orders, by one Horner pass: unrolled when short, a loop of blocks when long."""
    shape = jnp.broadcast_shapes(a.shape[1:], b.shape[1:], rho.shape)
    factors = _factors(a.shape[0], orders).reshape(-1, _BLOCK, orders + 1)
    blocks = a.shape[0] // _BLOCK
    a, b = (x.reshape(blocks, _BLOCK, *x.shape[1:]) for x in (a, b))
    sums = tuple(jnp.zeros(shape, rho.dtype) for _ in range(orders + 1))
    if blocks <= _UNROLLED:
        for i in reversed(range(blocks)):
            sums = _horner(sums, a[i], b[i], rho, factors[i].tolist())
        return sums
    factors = jnp.asarray(factors, rho.dtype)

    def block(i: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        i = blocks - 1 - i
        return _horner(sums, a[i], b[i], rho, factors[i])

    return lax.fori_loop(0, blocks, block, sums)


def _factors(terms: int, orders: int) -> np.ndarray:
    """j!/(j+m)!, shape (terms, orders + 1)."""
    j = np.arange(terms)[:, None] + np.arange(1, orders + 1)
    return np.concatenate([np.ones((terms, 1)), np.cumprod(1.0 / j, 1)], 1)


def _horner(sums: tuple[Array, ...], a: Array, b: Array, rho: Array, factors) -> tuple[Array, ...]:
    for j in reversed(range(_BLOCK)):
        c = a[j] * b[j]
        sums = tuple(s * rho + c * factors[j][m] for m, s in enumerate(sums))
    return sums


def _taylor(products: list[Array], remainder: Array, k12: Array) -> Array:
    total = remainder
    for r in reversed(range(len(products))):
        total = total * k12 + products[r] / factorial(r)
    return total
