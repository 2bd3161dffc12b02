"""What kinks add to E[f(u)g(v)]: an integral over the correlation, exact up to |ρ| = 1.

Let R have the jumps J_i of f⁽ⁱ⁾, i < B, at each place a: R⁽ᴮ⁾ = Σ_a Σ_i J_i δ_a⁽ᴮ⁻¹⁻ⁱ⁾, R' likewise those of g. Its Hermite coefficients
from the B-th on are those of densities at the places, and Price's identity B times gives, with t the covariance,

    Σ_{j≥B} r_j r'_j ρ^j = ∫₀^{k₁₂} (k₁₂ - t)^{B-1}/(B-1)! Σ J_i J'_j (-1)^{m+n} ∂_aᵐ ∂_bⁿ p_t(a, b) dt,    m = B-1-i,  n = B-1-j.

With t = s₁s₂ cos y the density is exp(-(h-k)²/(2 sin²y) - hk/(1 + cos y)) dy/2π (Plackett), h and k the standardised places:
smooth in y but for the scale |h - k|, which y = δ sinh x resolves. f minus R is smoother by B orders, exactly a polynomial
if f is piecewise a polynomial of degree below B.
"""

from math import factorial, pi, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian._kinks import Kink
from widelimit.gaussian._rectified import MIDDLE, half_moment, rectified
from widelimit.gaussian._series import column, panel_nodes

_NODES = (40, 64)  # for jumps of order at most 1, and of higher ones
_FAR = 30.0
_ENDS = np.linspace(-7.5, 7.5, 7)
_FINEST, _SAME = 1e-6, 1e-9
_MANY = 4096  # entries at a time: what fits in the nearest cache


class Edges(NamedTuple):
    """The jumps of a function: their places, the orders i that occur, and the sizes J_i, a row a place."""

    places: tuple[float, ...]
    orders: tuple[int, ...]
    sizes: tuple[tuple[float, ...], ...]


def edges(kinks: tuple[Kink, ...]) -> Edges:
    """The jumps of a function's kinks."""
    orders = tuple(i for i in range(4) if any(kink.jumps[i] for kink in kinks))
    sizes = tuple(tuple(kink.jumps[i] for i in orders) for kink in kinks)
    return Edges(tuple(kink.place for kink in kinks), orders, sizes)


def depth(*sides: Edges) -> int:
    """B: one more than the highest order that occurs."""
    return 1 + max((i for side in sides for i in side.orders), default=-1)


def rough_part(side: Edges, u: Array, keep: tuple[Array, ...], lift: int = 0) -> Array:
    """R(u) of the orders kept, integrated `lift` times, turned so that it vanishes around 0."""
    total = jnp.zeros_like(u)
    for place, sizes in zip(side.places, side.sizes, strict=True):
        x = u - place
        beyond = x > 0 if place >= 0 else x <= 0
        terms = zip(side.orders, sizes, keep, strict=True)
        powers = sum(on * size * x ** (i + lift) / factorial(i + lift) for i, size, on in terms)
        total = total + jnp.where(beyond, powers if place >= 0 else -powers, 0)
    return total


def rough_mean(side: Edges, keep: tuple[Array, ...], mean: Array | None, variance: Array, *, lift: int) -> Array:
    """E[R(u)], R integrated `lift` times."""
    s, total = jnp.sqrt(jnp.maximum(variance, 0)), 0.0
    for place, sizes in zip(side.places, side.sizes, strict=True):
        alpha = standard(place, mean, s)
        for i, size, on in zip(side.orders, sizes, keep, strict=True):
            total = total + on * size * s ** (i + lift) * _low(place >= 0, i + lift, 0, alpha)
    return total


def rough_square(side: Edges, keep: tuple[Array, ...], mean: Array | None, variance: Array) -> Array:
    """E[R²], by panels that end at the places."""
    s = jnp.sqrt(jnp.maximum(variance, 0))
    places = [jnp.broadcast_to(standard(place, mean, s), _shape(mean, variance)) for place in side.places]
    ends = jnp.broadcast_to(column(_ENDS, s), (_ENDS.size, *_shape(mean, variance)))
    x, weight = panel_nodes(jnp.sort(jnp.clip(jnp.concatenate([jnp.stack(places), ends]), _ENDS[0], _ENDS[-1]), 0))
    return jnp.sum(weight * rough_part(side, (0 if mean is None else mean) + s * x, keep) ** 2, 0)


def rough_coefficients(
    side: Edges, keep: tuple[Array, ...], mean: Array | None, variance: Array, *, terms: int
) -> Array:
    """r_j = E[R h_j], shape (terms, ...): Σ J_i sⁱ N(α) h_{j-1-i}(α) √((j-1-i)!/j!) for j > i, with α = (a - m)/s."""
    s = jnp.sqrt(jnp.maximum(variance, 0))
    total = jnp.zeros((terms, *_shape(mean, variance)), s.dtype)
    j = np.arange(terms)
    for place, sizes in zip(side.places, side.sizes, strict=True):
        alpha = jnp.broadcast_to(standard(place, mean, s), total.shape[1:])
        densities = _density_terms(alpha, terms)
        for i, size, on in zip(side.orders, sizes, keep, strict=True):
            falling = np.where(j > i, np.prod([1 / np.sqrt(np.maximum(j - r, 1)) for r in range(i + 1)], 0), 0)
            rest = jnp.concatenate([jnp.zeros((i + 1, *alpha.shape), s.dtype), densities[: terms - i - 1]])
            low = jnp.stack([_low(place >= 0, i, q, alpha) if q <= i else 0 * alpha for q in range(4)])
            rest = (rest * column(falling, alpha)).at[:4].add(low)
            total = total + (on * size * s**i) * rest
    return total


def _shape(mean: Array | None, variance: Array) -> tuple[int, ...]:
    return variance.shape if mean is None else jnp.broadcast_shapes(mean.shape, variance.shape)


def _density_terms(alpha: Array, terms: int) -> Array:
    """N(α) h_j(α)."""

    def step(state: tuple[Array, Array], j: Array) -> tuple[tuple[Array, Array], Array]:
        h0, h1 = state
        return (h1, (alpha * h1 - jnp.sqrt(j) * h0) / jnp.sqrt(j + 1)), h1

    start = jnp.zeros_like(alpha), jnp.exp(-0.5 * alpha * alpha) / sqrt(2 * pi)
    return lax.scan(step, start, jnp.arange(terms, dtype=alpha.dtype))[1]


def _low(right: bool, i: int, j: int, alpha: Array) -> Array:
    """E[(x-α)₊ⁱ h_j]/i! = E[(x-α)₊^{i-j}]/((i-j)! √j!) for j <= i; turned to the left, of -(-1)ⁱ(α-x)₊ⁱ."""
    sign = 1.0 if right else -((-1.0) ** (i - j))
    a = alpha if right else -alpha
    moments = [0.5 * jax.scipy.special.erfc(a / sqrt(2)), 0 * a]
    moments[1] = jnp.exp(-0.5 * a * a) / sqrt(2 * pi) - a * moments[0]
    for r in range(1, i - j):
        moments.append(r * moments[r - 1] - a * moments[r])
    return sign * moments[i - j] / (factorial(i - j) * sqrt(factorial(j)))


def standard(place: float | Array, mean: Array | None, scale: Array) -> Array:
    """The place in standard units, clipped."""
    offset = place if mean is None else place - mean
    tiny = float(jnp.finfo(scale.dtype).tiny) * 1e10
    return jnp.clip(offset / jnp.maximum(scale, tiny), -_FAR, _FAR)


def over_kinks(left: Edges, right: Edges, law: tuple, keeps: tuple, rho: Array, *, orders: int) -> tuple[Array, ...]:
    """The integrals for f, g and, after them, for their antiderivatives up to `orders` (weight (k₁₂-t)^{B-1+m}/(B-1+m)!).

    Args:
        left: jumps of f.
        right: jumps of g.
        law: k11, k22, m1, m2, a mean `None` being zero.
        keeps: of each side, for each order, 1 where it counts.
        rho: the correlation, of the full shape.
        orders: how many antiderivatives.
    """
    if _at_origin(left, right, law):
        return _closed(left, right, law, keeps, rho, orders=orders)
    entries = jax.tree.map(lambda x: jnp.broadcast_to(x, rho.shape).reshape(-1), (*law, *keeps, rho))
    if rho.size <= _MANY:
        out = _integrals(left, right, orders, entries)
    else:
        out = _in_pieces(lambda some: _integrals(left, right, orders, some), entries)
    return tuple(x.reshape(rho.shape) for x in out)


def _at_origin(left: Edges, right: Edges, law: tuple) -> bool:
    return set(left.places + right.places) == {0.0} and law[2] is None and law[3] is None


def _closed(left: Edges, right: Edges, law: tuple, keeps: tuple, rho: Array, *, orders: int) -> tuple[Array, ...]:
    """For kinks at 0, E[u₊ⁱ⁺ᵐ v₊ʲ⁺ᵐ]/((i+m)!(j+m)!) less its Taylor polynomial in k₁₂, of degree B-1+m."""
    k11, k22 = law[:2]
    s1, s2 = jnp.sqrt(jnp.maximum(k11, 0)), jnp.sqrt(jnp.maximum(k22, 0))
    terms, degree = [], depth(left, right)
    for q, i in enumerate(left.orders):
        for r, j in enumerate(right.orders):
            weight = keeps[0][q] * keeps[1][r] * left.sizes[0][q] * right.sizes[0][r] * s1**i * s2**j
            terms.append([weight * _rest(i + m, j + m, rho, degree + m) for m in range(orders + 1)])
    return tuple(sum(column) * (s1 * s2) ** m for m, column in enumerate(zip(*terms, strict=True)))


def _rest(i: int, j: int, rho: Array, degree: int) -> Array:
    """E[x₊ⁱ y₊ʲ]/(i!j!) of standard x, y, less the terms ρʳ/r! of its expansion for r < degree."""
    one = jnp.ones_like(rho)
    value = rectified((i, j), MIDDLE, one, rho, one) / (factorial(i) * factorial(j))
    return value - sum(_edge(i - r) * _edge(j - r) / factorial(r) * rho**r for r in range(degree))


def _edge(i: int) -> float:
    """E[∂ʳ x₊ʳ⁺ⁱ]/(r+i)!: the moment of x₊ⁱ over i!; for negative i the derivative of the density at 0, of order -1-i, with its sign."""
    if i >= 0:
        return half_moment(i) / factorial(i)
    return float(np.polynomial.hermite_e.hermeval(0.0, [0] * (-1 - i) + [1])) / sqrt(2 * pi)


def _in_pieces(f, entries: tuple) -> tuple[Array, ...]:
    size = entries[-1].size
    count = -(-size // _MANY)
    padded = jax.tree.map(lambda x: jnp.pad(x, (0, count * _MANY - size), mode="edge").reshape(count, _MANY), entries)
    return tuple(x.reshape(-1)[:size] for x in lax.map(f, padded))


def _integrals(left: Edges, right: Edges, orders: int, entries: tuple) -> tuple[Array, ...]:
    k11, k22, m1, m2, keep1, keep2, rho = entries
    s1, s2 = jnp.sqrt(jnp.maximum(k11, 0)), jnp.sqrt(jnp.maximum(k22, 0))
    sign, lowest = jnp.where(rho < 0, -1, 1), jnp.sqrt(0.5 * (1 - jnp.abs(rho)))
    many = len(right.places)
    tables = [jnp.asarray(np.asarray(x), rho.dtype) for x in (left.places, right.places, left.sizes, right.sizes)]

    def add(pair: Array, totals: tuple[Array, ...]) -> tuple[Array, ...]:
        a, b = pair // many, pair % many
        h, k = standard(tables[0][a], m1, s1), sign * standard(tables[1][b], m2, s2)
        # seen through v -> -v, where ρ < 0, the jump of g⁽ʲ⁾ changes by -(-1)ʲ
        lefts = [keep1[q] * tables[2][a, q] * s1**i for q, i in enumerate(left.orders)]
        rights = [keep2[q] * tables[3][b, q] * s2**j * (sign if j % 2 == 0 else 1) for q, j in enumerate(right.orders)]
        new = _integral(h, k, lowest, _Weights(left.orders, right.orders, lefts, rights), orders)
        return tuple(t + x for t, x in zip(totals, new, strict=True))

    start = tuple(jnp.zeros_like(rho) for _ in range(orders + 1))
    sums = lax.fori_loop(0, len(left.places) * many, add, start)
    return tuple(x * (sign * s1 * s2) ** m for m, x in enumerate(sums))


class _Weights(NamedTuple):
    """The orders i and j that occur, and J_i s₁ⁱ, J'_j s₂ʲ."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    lefts: list[Array]
    rights: list[Array]


def _integral(h: Array, k: Array, lowest: Array, weights: _Weights, orders: int) -> tuple[Array, ...]:
    """∫ (cos y₁ - cos y)^{B-1+m}/(B-1+m)! Σ J J' D e dy/2π over [y₁, π/2], e = exp(-(h-k)²/(2 sin²y) - hk/(1 + cos y)).

    In z = sin(y/2): dy = 2 dz/√(1-z²), sin²y = 4z²(1-z²), 1 + cos y = 2(1-z²); `lowest` is sin(y₁/2).
    """
    scale = jnp.maximum(0.25 * jnp.abs(h - k), lowest)
    # equal places at |ρ| = 1, those of an input with itself, leave nothing to resolve
    delta = jnp.where(scale < _SAME, 1, jnp.clip(scale, _FINEST, 1))
    x0, x1 = jnp.arcsinh(lowest / delta), jnp.arcsinh(sqrt(0.5) / delta)
    least, highest = lowest**2, max(weights.left + weights.right)
    count = _NODES[highest > 1]
    nodes, rule = (jnp.asarray(a, h.dtype) for a in np.polynomial.legendre.leggauss(count))
    half, middle = 0.5 * (x1 - x0), 0.5 * (x1 + x0)
    apart, product, floor = 0.125 * (h - k) ** 2, 0.5 * h * k, jnp.finfo(h.dtype).tiny ** 0.25

    def add(i: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        up = jnp.exp(middle + half * nodes[i])
        z = jnp.clip(0.5 * delta * (up - 1 / up), lowest, sqrt(0.5))
        share = jnp.maximum(z * z, floor)
        lever = 2 * jnp.maximum(share - least, 0)
        e = jnp.exp(-(apart / share + product) / (1 - share)) * (rule[i] * (up + 1 / up)) * lax.rsqrt(1 - share)
        e = e * _slopes(h, k, share, lever, weights) / factorial(highest)
        out = []
        for m, total in enumerate(sums):
            out.append(total + e)
            e = e * lever / (highest + m + 1)
        return tuple(out)

    zero = tuple(jnp.zeros_like(h) for _ in range(orders + 1))
    scale = half * delta / (2 * pi)
    return tuple(scale * x for x in lax.fori_loop(0, count, add, zero))


def _slopes(h: Array, k: Array, share: Array, lever: Array, weights: _Weights) -> Array:
    """Σ J_i J'_j ℓ^{B-1} D_mn with ℓ = cos y₁ - cos y, m = B-1-i, n = B-1-j and D_mn = (-1)^{m+n} ∂_hᵐ∂_kⁿ p / p.

    D_{m+1,n} = A D_mn - m q D_{m-1,n} + n ρq D_{m,n-1} with q = 1/(1-ρ²), A = (h-ρk)q, and the same with sides exchanged.
    A, B come times √ℓ and q times ℓ, so that nothing is large at small angles.
    """
    highest, root = max(weights.left + weights.right), jnp.sqrt(lever)
    q = 1 / (4 * share * (1 - share))
    a, b = (h - k + 2 * k * share) * q * root, (k - h + 2 * h * share) * q * root
    q = q * lever
    cross = (1 - 2 * share) * q
    found: dict[tuple[int, int], Array | float] = {(0, 0): 1.0}

    def d(m: int, n: int) -> Array | float:
        if m < 0 or n < 0:
            return 0.0
        if (m, n) not in found:
            if m:
                found[m, n] = a * d(m - 1, n) - (m - 1) * q * d(m - 2, n) + n * cross * d(m - 1, n - 1)
            else:
                found[m, n] = b * d(m, n - 1) - (n - 1) * q * d(m, n - 2)
        return found[m, n]

    return sum(
        x * y * root ** (i + j) * d(highest - i, highest - j)
        for i, x in zip(weights.left, weights.lefts, strict=True)
        for j, y in zip(weights.right, weights.rights, strict=True)
    )
