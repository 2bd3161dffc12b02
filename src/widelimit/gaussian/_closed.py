"""Closed forms of E[f(u) g(v)] for the atoms of `_forms.py` and for sums of them.

Pairs of like atoms have formulas of their own here; all others go by pieces (`_pieces.py`).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array

from widelimit.gaussian import _pieces
from widelimit.gaussian._angle import Gap, angle, arcsine
from widelimit.gaussian._elementary import inverse_sqrt, root
from widelimit.gaussian._forms import (
    Atom,
    Bump,
    Erf,
    ErfLine,
    ErfLineSlope,
    Exponential,
    Form,
    Rectified,
    Sine,
)
from widelimit.gaussian._moments import plus, times
from widelimit.gaussian._rectified import half_moment, rectified


class Law(NamedTuple):
    """Law of a pair: variances, covariance, means (`None`: centred), and E[(u − v)²] of the centred parts if it is known."""

    k11: Array
    c: Array
    k22: Array
    m1: Array | None = None
    m2: Array | None = None
    gap: Gap | None = None

    def swapped(self) -> "Law":
        """The law of (v, u)."""
        return Law(self.k22, self.c, self.k11, self.m2, self.m1, self.gap)


LONGEST = 4  # highest degree of a polynomial paired with an atom: derivatives are taken one by one


# --- one Gaussian: E[fⁿ(u)], u ~ N(m, k) --------------------------------------------------


def _mean_erf(atom: Erf, k: Array, m: Array) -> Array:
    a, b = atom.slope, atom.offset
    return erf((a * m + b) / jnp.sqrt(1 + 2 * a * a * k))


def _mean_erf_line(atom: ErfLine, k: Array, m: Array) -> Array:
    a, spread = atom.slope, 1 + 2 * atom.slope**2 * k
    ratio = a * m / jnp.sqrt(spread)
    bump = jnp.exp(-ratio * ratio) / jnp.sqrt(spread)
    return m * erf(ratio) + k * (2 * a / math.sqrt(math.pi)) * bump


def _mean_erf_line_slope(atom: ErfLineSlope, k: Array, m: Array) -> Array:
    return _slope(partial(_mean_erf_line, ErfLine(atom.slope), k), m)


def _mean_sine(atom: Sine, k: Array, m: Array) -> Array:
    a, p = atom.frequency, atom.phase
    return jnp.exp(-a * a * k / 2) * jnp.sin(a * m + p)


def _mean_exponential(atom: Exponential, k: Array, m: Array) -> Array:
    a = atom.rate
    return jnp.exp(a * m + a * a * k / 2)


def _mean_bump(atom: Bump, k: Array, m: Array) -> Array:
    spread = 1 + 2 * atom.sharpness * k
    return jnp.exp(-atom.sharpness * (m - atom.centre) ** 2 / spread) / jnp.sqrt(spread)


_SMOOTH: dict[type, Callable[..., Array]] = {
    Erf: _mean_erf,
    ErfLine: _mean_erf_line,
    ErfLineSlope: _mean_erf_line_slope,
    Sine: _mean_sine,
    Exponential: _mean_exponential,
    Bump: _mean_bump,
}


def _slope(fn: Callable[[Array], Array], x: Array) -> Array:
    return jax.jvp(fn, (x,), (jnp.ones_like(x),))[1]


def _atom_mean(atom: Atom, n: int, k: Array, m: Array | None) -> Array | None:
    """E[f⁽ⁿ⁾(u)]; of a smooth f it is the n-th derivative of E[f(u)] in the mean of u."""
    if isinstance(atom, Rectified):
        return _rectified_mean(atom, n, k)  # n <= its order
    if m is None and _parity(atom) == (n + 1) % 2:
        return None
    fn = partial(_SMOOTH[type(atom)], atom, k)
    for _ in range(n):
        fn = partial(_slope, fn)
    return fn(jnp.zeros_like(k) if m is None else jnp.broadcast_to(m, _shape(k, m)))


def _parity(atom: Atom) -> int | None:
    """0 of an even function, 1 of an odd one."""
    match atom:
        case ErfLine() | Bump(centre=0.0):
            return 0
        case ErfLineSlope() | Erf(offset=0.0) | Sine(phase=0.0):
            return 1
    return None


def _shape(*arrays: Any) -> tuple[int, ...]:
    return jnp.broadcast_shapes(*(jnp.shape(x) for x in arrays))


def _rectified_mean(atom: Rectified, n: int, k: Array) -> Array:
    """E[(u₊ʲ)⁽ⁿ⁾] of a centred u for n <= j: a half moment."""
    order, left = atom.order, atom.order - n
    value = math.perm(order, n) * half_moment(left) * (root(k) ** left if left else jnp.ones_like(k))
    if left or order > 1 or atom.at_zero == 0.5:
        return value
    return jnp.where(k > 0, value, atom.at_zero).astype(k.dtype)


def _density_slope(order: int, n: int) -> float:
    """E[(u₊ʲ)⁽ⁿ⁾] for n > j and unit variance: j! times a derivative of the normal density at 0."""
    return math.factorial(order) * _hermite_at_zero(n - order - 1) / math.sqrt(2 * math.pi)


def _hermite_at_zero(n: int) -> float:
    """He_n(0)."""
    return 0.0 if n % 2 else (-1) ** (n // 2) * math.factorial(n) / (2 ** (n // 2) * math.factorial(n // 2))


def _power_means(polynomial: tuple, k: Array, m: Array | None) -> list:
    """E[p⁽ⁿ⁾(u)]/n! for n = 0 … deg p; `None` is a structural zero."""
    degree = len(polynomial) - 1
    weights = [None if isinstance(w, float) and w == 0 else w for w in polynomial]
    moments = _moments(degree, k, m)
    return [
        plus(*(times(float(math.comb(j, n)), weights[j], moments[j - n]) for j in range(n, degree + 1)))
        for n in range(degree + 1)
    ]


def _moments(degree: int, k: Array, m: Array | None) -> list:
    """E[uʲ]: Mⱼ = m Mⱼ₋₁ + (j−1) k Mⱼ₋₂."""
    moments = [1.0, m]
    for j in range(2, degree + 1):
        moments.append(plus(times(m, moments[-1]), times(float(j - 1), k, moments[-2])))
    return moments


def _horner(coefficients: list, steps: list[Array]):
    """a₀ + x₀(a₁ + x₁(a₂ + …)), where `None` is a structural zero."""
    value = coefficients[-1]
    for coefficient, step in zip(coefficients[-2::-1], steps[::-1], strict=True):
        value = plus(coefficient, times(value, step))
    return value


# --- two Gaussians, atom by atom ----------------------------------------------------------


def _rectified_pair(f: Rectified, g: Rectified, law: Law) -> Array:
    orders, steps = (f.order, g.order), (f.at_zero, g.at_zero)
    return rectified(orders, steps, law.k11, law.c, law.k22, gap=law.gap)


def _widened(a: float, b: float, law: Law) -> tuple[Array, Array, Array, Array, Array]:
    """Law of (√2 a u + z, √2 b v + z'), z and z' independent standard normal: erf(a u) is the mean of its sign over z.

    Returns:
        `(S1, C, S2, √(S1 S2 − C²), k11 k22 − c²)`.
    """
    s1, s2 = 1 + 2 * a * a * law.k11, 1 + 2 * b * b * law.k22
    determinant = angle(law.k11, law.c, law.k22).determinant
    sine = jnp.sqrt(s1 + 2 * b * b * law.k22 + (2 * a * b) ** 2 * determinant)
    return s1, 2 * a * b * law.c, s2, sine, determinant


def _erf_pair(f: Erf, g: Erf, law: Law) -> Array:
    """(2/π) asin(2ab c/√((1+2a²k11)(1+2b²k22))) (Williams 1997)."""
    s1, c, s2, sine, _ = _widened(f.slope, g.slope, law)
    return (2 / math.pi) * arcsine(s1, c, s2, sine)


def _erf_line_pair(f: ErfLine, g: ErfLine, law: Law) -> Array:
    """E[u erf(au) v erf(bv)] = (2/π){c asin(C/√(S1S2)) + (2ab/h)[k11k22 − c² + c²(1/S1 + 1/S2)]}.

    By Gaussian integration by parts in the law of `_widened`, h = √(S1S2 − C²).
    """
    a, b = f.slope, g.slope
    s1, c, s2, sine, determinant = _widened(a, b, law)
    bracket = determinant + law.c**2 * (1 / s1 + 1 / s2)
    return (2 / math.pi) * (law.c * arcsine(s1, c, s2, sine) + 2 * a * b * bracket / sine)


def _erf_line_slope_pair(f: ErfLineSlope, g: ErfLineSlope, law: Law) -> Array:
    """By Price's theorem the derivative of the pair without slopes in the covariance."""
    f, g = ErfLine(f.slope), ErfLine(g.slope)
    c = jnp.broadcast_to(law.c, _shape(law.k11, law.c, law.k22))
    return _slope(lambda c: _erf_line_pair(f, g, law._replace(c=c)), c)


def _sine_pair(f: Sine, g: Sine, law: Law) -> Array | None:
    """e^{−s}[sin p sin q cosh x + cos p cos q sinh x], x = ab c, s = (a²k11 + b²k22)/2."""
    a, b = f.frequency, g.frequency
    p, q = _phase(f, law.m1), _phase(g, law.m2)
    x, s = a * b * law.c, (a * a * law.k11 + b * b * law.k22) / 2
    even, odd = _product(_sin(p), _sin(q)), _product(_sin(p, 1), _sin(q, 1))
    up, down = jnp.exp(x - s), jnp.exp(-x - s)
    small = jnp.exp(-s) * _sinh(jnp.clip(x, -1, 1))  # keeps the digits of a small covariance
    sinh = jnp.where(jnp.abs(x) < 1, small, (up - down) / 2)
    return plus(times(even, (up + down) / 2), times(odd, sinh))


def _sin(phase: Array | float, quarter: int = 0) -> Array | float:
    """sin(p + quarter·π/2), a plain number of a plain number and exactly 0 where it should be."""
    if not isinstance(phase, float):
        return jnp.cos(phase) if quarter else jnp.sin(phase)
    value = math.cos(phase) if quarter else math.sin(phase)
    return value if abs(value) > 1e-15 else 0.0


def _product(x: Array | float, y: Array | float) -> Array | float | None:
    """x y, `None` if a plain factor is zero."""
    return None if any(isinstance(z, float) and z == 0 for z in (x, y)) else x * y


def _sinh(x: Array) -> Array:
    """sinh x for |x| <= 1, by its series."""
    value = jnp.ones_like(x)
    for n in range(18, 0, -2):
        value = 1 + value * x * x / (n * (n + 1))
    return x * value


def _phase(atom: Sine, mean: Array | None) -> Array | float:
    return atom.phase if mean is None else atom.frequency * mean + atom.phase


def _exponential_pair(f: Exponential, g: Exponential, law: Law) -> Array:
    a, b = f.rate, g.rate
    exponent = a * b * law.c + (a * a * law.k11 + b * b * law.k22) / 2
    for rate, mean in ((a, law.m1), (b, law.m2)):
        exponent = exponent if mean is None else exponent + rate * mean
    return jnp.exp(exponent)


def _bump_pair(f: Bump, g: Bump, law: Law) -> Array:
    """E exp(−½ xᵀAx) = det(I + ΣA)^{−1/2} exp(−½ μᵀA(I + ΣA)⁻¹μ), A = diag(2α, 2β)."""
    a, b = f.sharpness, g.sharpness
    m1, m2 = _offset(law.m1, f.centre), _offset(law.m2, g.centre)
    s1, s2 = 1 + 2 * a * law.k11, 1 + 2 * b * law.k22
    plane = angle(law.k11, law.c, law.k22).determinant
    determinant = s1 + 2 * b * law.k22 + 4 * a * b * plane
    weight = a * m1**2 * s2 + b * m2**2 * s1 - 4 * a * b * law.c * m1 * m2
    return jnp.exp(-weight / determinant) / jnp.sqrt(determinant)


def _offset(mean: Array | None, centre: float) -> Array | float:
    return -centre if mean is None else mean - centre


_PAIRS: dict[tuple[type, type], Callable[..., Array]] = {
    (Rectified, Rectified): _rectified_pair,
    (Erf, Erf): _erf_pair,
    (ErfLine, ErfLine): _erf_line_pair,
    (ErfLineSlope, ErfLineSlope): _erf_line_slope_pair,
    (Sine, Sine): _sine_pair,
    (Exponential, Exponential): _exponential_pair,
    (Bump, Bump): _bump_pair,
}
_WITH_MEANS = (Sine, Exponential, Bump)


# --- sums ---------------------------------------------------------------------------------


def mean(form: Form, k: Array, m: Array | None) -> Array | None:
    """E[f(u)], u ~ N(m, k)."""
    if not all(_has_mean(atom, m is None) for _, atom in form.terms):
        return _filled(_pieces.mean(form, k, jnp.zeros_like(k) if m is None else m), k, m)
    parts = _power_means(form.polynomial, k, m)[:1] if form.polynomial else []
    parts += [times(w, _atom_mean(atom, 0, k, m)) for w, atom in form.terms]
    return _filled(plus(*parts), k, m)


def _has_mean(atom: Atom, centred: bool) -> bool:
    """Whether `_atom_mean` serves this atom."""
    return centred if isinstance(atom, Rectified) else type(atom) in _SMOOTH


def _filled(value, *like) -> Array:
    arrays = [x for x in (value, *like) if x is not None]
    dtype = jnp.result_type(*like[:1])
    return jnp.broadcast_to(jnp.asarray(0.0 if value is None else value, dtype), _shape(*arrays))


def pair(f: Form, g: Form, law: Law) -> Array | None:
    """E[f(u) g(v)]; `None` if this pair of functions has no closed form here."""
    if not _is_direct(f, g, centred=law.m1 is None and law.m2 is None):
        return _by_pieces(f, g, law) if _pieces.closes(f, g) else None
    parts = [times(w1, w2, _PAIRS[type(a), type(b)](a, b, law)) for w1, a in f.terms for w2, b in g.terms]
    parts += [_series(f.polynomial, g.polynomial, law)]
    parts += [times(w, _against(f.polynomial, b, law)) for w, b in g.terms]
    parts += [times(w, _against(g.polynomial, a, law.swapped())) for w, a in f.terms]
    return _filled(plus(*parts), *law[:5])


def closes(f: Form, g: Form) -> bool:
    """Whether `pair` has a closed form for these functions, with means or without."""
    return _is_direct(f, g, centred=True) or _pieces.closes(f, g)


def _by_pieces(f: Form, g: Form, law: Law) -> Array:
    """By the moments of polynomials, steps, Gaussian factors and waves, which serve every pair alike."""
    m1, m2 = (jnp.zeros_like(k) if m is None else m for k, m in ((law.k11, law.m1), (law.k22, law.m2)))
    return _filled(_pieces.pair(f, g, (law.k11, law.c, law.k22, m1, m2)), *law)


def _is_direct(f: Form, g: Form, *, centred: bool) -> bool:
    """Whether the pair has a formula of its own: shorter than by pieces."""
    pairs = [(a, b) for _, a in f.terms for _, b in g.terms]
    mixed = [a for _, a in g.terms if f.polynomial] + [a for _, a in f.terms if g.polynomial]
    if (f.terms and len(g.polynomial) > LONGEST + 1) or (g.terms and len(f.polynomial) > LONGEST + 1):
        return False
    return all(_has_mean(a, centred) for a in mixed) and all(_pair_is_direct(a, b, centred) for a, b in pairs)


def _pair_is_direct(a: Atom, b: Atom, centred: bool) -> bool:
    if (type(a), type(b)) not in _PAIRS:
        return False
    if isinstance(a, Erf) and (a.offset or b.offset):
        return False
    return centred or isinstance(a, _WITH_MEANS)


def _series(p: tuple, q: tuple, law: Law) -> Array | float | None:
    """E[p(u) q(v)] = Σ_n (cⁿ/n!) E[p⁽ⁿ⁾(u)] E[q⁽ⁿ⁾(v)], finite since p is a polynomial."""
    if not p or not q:
        return None
    left, right = _power_means(p, law.k11, law.m1), _power_means(q, law.k22, law.m2)
    both = zip(left, right, strict=False)
    terms = [times(float(math.factorial(n)), x, y) for n, (x, y) in enumerate(both)]
    return _horner(terms, [law.c] * (len(terms) - 1))


def _against(p: tuple, atom: Atom, law: Law) -> Array | float | None:
    """The same series for a polynomial of u and an atom of v."""
    if not p:
        return None
    left = _power_means(p, law.k11, law.m1)
    if isinstance(atom, Rectified):
        return _against_rectified(left, atom, law)
    right = [_atom_mean(atom, n, law.k22, law.m2) if x is not None else None for n, x in enumerate(left)]
    terms = [times(x, y) for x, y in zip(left, right, strict=True)]
    return _horner(terms, [law.c] * (len(terms) - 1))


def _against_rectified(left: list, atom: Rectified, law: Law) -> Array | float | None:
    """Beyond the order j of the atom in powers of c/√k22, which neither overflow nor divide by zero."""
    j, count = atom.order, len(left)
    right = [_rectified_mean(atom, n, law.k22) for n in range(min(j + 1, count))]
    right += [_density_slope(j, n) for n in range(j + 1, count)]
    steps = [law.c] * j + [law.c * inverse_sqrt(law.k22)] * max(count - 1 - j, 0)
    return _horner([times(x, y) for x, y in zip(left, right, strict=True)], steps[: count - 1])
