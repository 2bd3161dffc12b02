"""E[xⁿ yᵐ S(x') S'(y')]: powers of two Gaussians, each times a step or a sign that may be softened.

x' = x + σz with z an independent standard normal: E_z[1[x + σz > 0]] is the normal distribution function of x/σ, and
the sign gives erf(x/√2σ). So these moments are all that products of polynomials, rectifiers, steps and error functions need.

Gaussian integration by parts (Stein) lowers the powers, with S' = wδ (w = 1 for a step, 2 for a sign, 0 for no step):

    T(n, m) = E[xⁿyᵐ S S'] = m₁T(n−1, m) + k₁₁[(n−1)T(n−2, m) + D₁(n−1, m)] + c[m T(n−1, m−1) + D₂(n−1, m)],

D₁ = E[xⁿyᵐ wδ(x') S'(y')], a moment given x' = 0; D₂ likewise; D₁₂ = E[xⁿyᵐ wδ(x') w'δ(y')], a moment given both.
"""

import math
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erf, erfc
from jaxtyping import Array, Float

from widelimit.gaussian._angle import angle, is_zero
from widelimit.gaussian._bivariate import normal_tail, surplus
from widelimit.gaussian._elementary import inverse, inverse_sqrt, root

_CLIP = 37.0  # deviations; a normal tail beyond is 0 in double precision
_STEEPEST = 1e18  # stands for 1/0


class Step(NamedTuple):
    """What stands beside the powers.

    Attributes:
        jump: 0 for nothing, 1 for a step 1[x' > 0], 2 for a sign.
        spread: σ², the variance of the noise in x'.
        at_zero: the step's value where x' is 0 for certain.
    """

    jump: int = 0
    spread: float = 0.0
    at_zero: float = 0.5


NOTHING = Step()
Steps = tuple[Step, Step]


def times(*factors: Any) -> Any:
    """The product, where `None` is a structural zero."""
    return None if any(x is None for x in factors) else math.prod(factors)


def plus(*terms: Any) -> Any:
    """The sum, where `None` is a structural zero."""
    present = [x for x in terms if x is not None]
    return sum(present[1:], present[0]) if present else None


def moments(powers: tuple[int, int], steps: Steps, law: tuple) -> tuple:
    """T(n, m) for n <= N, m <= M.

    Args:
        powers: (N, M).
        steps: what stands beside the powers of x and of y.
        law: (k11, c, k22, m1, m2), arrays that broadcast; the means are complex where no step is.

    Returns:
        N + 1 tuples of M + 1 arrays, each of the shape of what it depends on.

    The derivatives are such moments again (Price's theorem): ∂T/∂c = E[∂ₓ(xⁿS) ∂ᵧ(yᵐS')], ∂T/∂m₁ = E[∂ₓ(xⁿS) yᵐS'],
    ∂T/∂k₁₁ = ½E[∂ₓ²(xⁿS) yᵐS']. A density that is infinite, of two steps at equal or opposite inputs, counts as 0.
    """
    if steps == (NOTHING, NOTHING):
        return _values(powers, steps, law)
    return _moments(powers, steps, law)


def _values(powers: tuple[int, int], steps: Steps, law: tuple) -> tuple:
    table = _Table(steps, law)
    return tuple(tuple(jnp.asarray(table.moment(n, m)) for m in range(powers[1] + 1)) for n in range(powers[0] + 1))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _moments(powers: tuple[int, int], steps: Steps, law: tuple) -> tuple:
    return _values(powers, steps, law)


def _moments_jvp(powers: tuple[int, int], steps: Steps, laws: tuple, moving: tuple) -> tuple[tuple, tuple]:
    (law,), (tangents,) = laws, moving
    values = _moments(powers, steps, law)
    table = _Table(steps, law, {(n, m): x for n, row in enumerate(values) for m, x in enumerate(row)})

    def slope(n: int, m: int) -> Array:
        partials = (_along_variance(table, 0), _along_cross(table), _along_variance(table, 1))
        partials += (_along_mean(table, 0), _along_mean(table, 1))
        terms = [times(f(n, m), t) for f, t in zip(partials, tangents, strict=True) if not is_zero(t)]
        like, total = values[n][m], plus(*terms)
        return jnp.broadcast_to(jnp.asarray(0 if total is None else total, like.dtype), like.shape)

    return values, tuple(tuple(slope(n, m) for m in range(powers[1] + 1)) for n in range(powers[0] + 1))


_moments.defjvp(_moments_jvp, symbolic_zeros=True)


def _along_cross(table: "_Table"):
    """E[∂ₓ(xⁿS) ∂ᵧ(yᵐS')]."""
    return lambda n, m: plus(
        times(_count(n * m), table.moment(n - 1, m - 1)),
        times(_count(n), table.edge(1, n - 1, m)),
        times(_count(m), table.edge(0, n, m - 1)),
        table.corner(n, m),
    )


def _along_mean(table: "_Table", side: int):
    """E[∂ₓ(xⁿS) yᵐS']."""

    def slope(n: int, m: int):
        lower, own = ((n - 1, m), n) if side == 0 else ((n, m - 1), m)
        return plus(times(_count(own), table.moment(*lower)), table.edge(side, n, m))

    return slope


def _along_variance(table: "_Table", side: int):
    """½E[∂ₓ²(xⁿS) yᵐS'], with E[δ'(x')F] = −(m₁E[δF] + k₁₁E[δ ∂ₓF] + cE[δ ∂ᵧF])/(k₁₁ + σ²) by parts."""

    def slope(n: int, m: int):
        own = (n, m)[side]

        def less(j: int, i: int = 0) -> tuple[int, int]:
            return (n - j, m - i) if side == 0 else (n - i, m - j)

        other = (m, n)[side]
        tilt = plus(
            times(table.means[side], table.edge(side, n, m)),
            times(_count(own), table.variances[side], table.edge(side, *less(1))),
            times(_count(other), table.c, table.edge(side, *less(0, 1))),
            times(table.c, table.corner(n, m)),
        )
        kept = None if table.steps[side].jump == 0 else times(tilt, -inverse(table.widened[side]))
        curved = times(_count(own * (own - 1)), table.moment(*less(2)))
        return times(0.5, plus(curved, times(_count(2 * own), table.edge(side, *less(1))), kept))

    return slope


def _count(n: int) -> float | None:
    return float(n) if n else None


class _Table:
    """The moments T, D₁, D₂ (`edge`) and D₁₂ (`corner`) of one law, each computed once; `None` is a structural zero."""

    def __init__(self, steps: Steps, law: tuple, known: dict | None = None):
        self.k11, self.c, self.k22, *means = law
        self.steps, self.means, self.variances = steps, tuple(means), (self.k11, self.k22)
        self._moments, self._edges, self._corners = dict(known or {}), {}, {}

    @cached_property
    def widened(self) -> tuple[Array, Array]:
        """Variances of x' and y'."""
        return tuple(k + step.spread for k, step in zip(self.variances, self.steps, strict=True))

    @cached_property
    def _determinant(self) -> Array:
        return angle(self.k11, self.c, self.k22).determinant

    @cached_property
    def _sine(self) -> Array:
        """√ of the determinant of the law of (x', y')."""
        (_, a, _), (_, b, _) = self.steps
        if a == b == 0:
            return angle(self.k11, self.c, self.k22).sine
        return root(self._determinant + a * self.k22 + b * self.k11 + a * b)

    @cached_property
    def _thresholds(self) -> tuple[Array, Array]:
        """−m/√k of x' and y', kept finite."""
        both = zip(self.means, self.widened, strict=True)
        return tuple(jnp.clip(-m * _steep(k), -_CLIP, _CLIP) for m, k in both)

    @cached_property
    def _tangents(self) -> tuple[Array, Array, Array]:
        """tan(asin|ρ|/2), tan(acos|ρ|/2) and the sign of ρ, of x' and y'."""
        size, wide = jnp.abs(self.c), root(self.widened[0]) * root(self.widened[1])
        sign = jnp.where(self.c < 0, -1, 1).astype(size.dtype)
        known = wide > 0
        half = jnp.where(known, size / jnp.where(known, wide + self._sine, 1), 0)
        rest = jnp.where(known, self._sine / jnp.where(known, wide + size, 1), 1)
        return jnp.minimum(half, 1), jnp.minimum(rest, 1), sign

    def moment(self, n: int, m: int):
        """T(n, m)."""
        if n < 0 or m < 0:
            return None
        if (n, m) not in self._moments:
            self._moments[n, m] = self._moment(n, m)
        return self._moments[n, m]

    def _moment(self, n: int, m: int):
        if n == m == 0:
            return self._chance()
        side = 0 if n else 1
        lower, curved = ((n - 1, m), (n - 2, m)) if n else ((0, m - 1), (0, m - 2))
        crossed = times(_count(m), self.moment(n - 1, m - 1)) if n else None
        return plus(
            times(self.means[side], self.moment(*lower)),
            times(_count((n or m) - 1), self.variances[side], self.moment(*curved)),
            times(self.variances[side], self.edge(side, *lower)),
            times(self.c, plus(crossed, self.edge(1 - side, *lower))),
        )

    def _chance(self):
        """E[S S'] = E[S]E[S'] + w w' (P(x' > 0, y' > 0) − P(x' > 0)P(y' > 0))."""
        alone = [self._alone(side) for side in (0, 1) if self.steps[side].jump]
        if len(alone) < 2:
            return alone[0] if alone else jnp.ones_like(self.c)
        weight = float(self.steps[0].jump * self.steps[1].jump)
        return alone[0] * alone[1] + weight * surplus(*self._thresholds, *self._tangents)

    def _alone(self, side: int) -> Array:
        """E[S]."""
        step, h = self.steps[side], self._thresholds[side]
        if step.jump == 2:
            return -erf(h * math.sqrt(0.5))
        value = normal_tail(h)
        if step.spread or step.at_zero == 0.5:
            return value
        certain = (self.variances[side] <= 0) & (self.means[side] == 0)
        return jnp.where(certain, step.at_zero, value).astype(value.dtype)

    def edge(self, side: int, n: int, m: int):
        """E[xⁿyᵐ wδ(x') S'(y')] for side 0; with δ at y' for side 1."""
        own = (n, m)[side]
        if n < 0 or m < 0 or not self.steps[side].jump or (own and not self.steps[side].spread):
            return None
        if (side, n, m) not in self._edges:
            self._edges[side, n, m] = self._edge(side, *((n, m) if side == 0 else (m, n)))
        return self._edges[side, n, m]

    def _edge(self, side: int, own: int, other: int):
        if own == other == 0:
            return self._density(side) * self._beyond(side)

        def at(own: int, other: int) -> tuple[int, int]:
            return (own, other) if side == 0 else (other, own)

        mean_own, mean_other, own_own, own_other, other_other = self._given(side)
        if own:
            return plus(
                times(mean_own, self.edge(side, *at(own - 1, other))),
                times(_count(own - 1), own_own, self.edge(side, *at(own - 2, other))),
                times(_count(other), own_other, self.edge(side, *at(own - 1, other - 1))),
                times(own_other, self.corner(*at(own - 1, other))),
            )
        return plus(
            times(mean_other, self.edge(side, *at(0, other - 1))),
            times(_count(other - 1), other_other, self.edge(side, *at(0, other - 2))),
            times(other_other, self.corner(*at(0, other - 1))),
        )

    def _given(self, side: int) -> tuple:
        """Means and covariances of (own, other) given x' = 0."""
        k, other = self.variances[side], self.variances[1 - side]
        steep, spread = inverse(self.widened[side]), self.steps[side].spread
        shift = self.c * self.means[side] * steep
        rest = (self._determinant + spread * other) * steep
        return (
            spread * self.means[side] * steep,
            self.means[1 - side] - shift,
            spread * k * steep,
            spread * self.c * steep,
            rest,
        )

    def _density(self, side: int) -> Array:
        """w times the density of x' at 0."""
        h, weight = self._thresholds[side], self.steps[side].jump / math.sqrt(2 * math.pi)
        return weight * jnp.exp(-h * h / 2) * inverse_sqrt(self.widened[side])

    def _beyond(self, side: int) -> Array | float:
        """E[S'(y') | x' = 0]; its argument keeps those of the two sides consistent where y' is a multiple of x'."""
        other = self.steps[1 - side]
        if not other.jump:
            return 1.0
        h, k = self._thresholds[side], self._thresholds[1 - side]
        _, rest, sign = self._tangents
        k = sign * k  # for ρ < 0 the event is −y' < −k
        above = ((h - k) * jnp.where(rest > 0, inverse(rest), _STEEPEST) - (h + k) * rest) / 2
        above = jnp.clip(sign * above, -_CLIP, _CLIP) * math.sqrt(0.5)
        return erf(above) if other.jump == 2 else erfc(-above) / 2

    def corner(self, n: int, m: int):
        """E[xⁿyᵐ wδ(x') w'δ(y')]."""
        (jump1, soft1, _), (jump2, soft2, _) = self.steps
        if min(n, m) < 0 or not jump1 or not jump2 or (n and not soft1) or (m and not soft2):
            return None
        if (n, m) not in self._corners:
            self._corners[n, m] = self._corner(n, m)
        return self._corners[n, m]

    def _corner(self, n: int, m: int):
        if n == m == 0:
            return self._joint_density
        (m1, m2), (v11, v12, v22) = self._pinned
        if n:
            return plus(
                times(m1, self.corner(n - 1, m)),
                times(_count(n - 1), v11, self.corner(n - 2, m)),
                times(_count(m), v12, self.corner(n - 1, m - 1)),
            )
        return plus(times(m2, self.corner(0, m - 1)), times(_count(m - 1), v22, self.corner(0, m - 2)))

    @cached_property
    def _joint_density(self) -> Array:
        """w w' times the density of (x', y') at (0, 0)."""
        h, k = self._thresholds
        _, rest, sign = self._tangents
        p, q, steep = (h - sign * k) ** 2 / 8, (h + sign * k) ** 2 / 8, inverse(rest)
        weight = self.steps[0].jump * self.steps[1].jump / (2 * math.pi)
        exponent = jnp.minimum(p * (1 + steep * steep) + q * (1 + rest * rest), 1e4)
        return weight * jnp.exp(-exponent) * inverse(self._sine)

    @cached_property
    def _pinned(self) -> tuple[tuple, tuple]:
        """Means and covariances of (x, y) given x' = y' = 0."""
        (_, a, _), (_, b, _) = self.steps
        steep = inverse(self._sine) ** 2
        (m1, m2), c = self.means, self.c
        means = (a * (self.widened[1] * m1 - c * m2) * steep, b * (self.widened[0] * m2 - c * m1) * steep)
        first = a * (self._determinant + b * self.k11) * steep
        second = b * (self._determinant + a * self.k22) * steep
        return means, (first, a * b * c * steep, second)


def _steep(k: Array) -> Array:
    """1/√k, enormous where k is 0, without derivative there."""
    return jnp.where(k > 0, inverse_sqrt(k), _STEEPEST)


def line(power: int, step: Step, k: Float[Array, "..."], m: Array) -> tuple:
    """E[xⁿ S(x')] for n <= N: the moments of one Gaussian."""
    nothing = jnp.zeros_like(k)
    rows = moments((power, 0), (step, NOTHING), (k, nothing, nothing, m, nothing))
    return tuple(row[0] for row in rows)
