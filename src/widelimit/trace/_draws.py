"""What law a number has that is computed from random bits: recognised from the function itself, by its values.

Random bits are uniform: read as a binary fraction, u in [0, 1). A number drawn from them is a function x(u), and its
law is known once x is: a straight line is a uniform law, x = m + s Φ⁻¹(A + B u) a normal law cut off at two quantiles.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from statistics import NormalDist

import numpy as np

NORMAL, TRUNCATED, UNIFORM, CONSTANT, ORTHOGONAL = "normal", "truncated_normal", "uniform", "constant", "orthogonal"

_erf = np.vectorize(math.erf, otypes=[np.float64])
_STENCIL = 4  # neighbours on each side that a derivative is read from


@dataclasses.dataclass(frozen=True)
class Moments:
    """The family of a law, its first two moments, and the quantiles that a normal law is cut off at."""

    kind: str
    mean: float
    variance: float
    quantiles: tuple[float, float] = (0.0, 1.0)


@functools.cache
def levels(bit_width: int) -> tuple[np.ndarray, np.ndarray]:
    """Random bits to probe with, as integers, and the u that they stand for.

    Eight bits make bfloat16, of whose random bits seven are used; so no probe has a bit that a conversion drops.
    """
    used = 7 if bit_width == 8 else 10
    steps = np.arange(2**used, dtype=np.uint64)
    return (steps << np.uint64(bit_width - used)).astype(f"uint{bit_width}"), steps / 2.0**used


def recognise(u: np.ndarray, x: np.ndarray, *, eps: float) -> Moments | None:
    """The law of x(u), u uniform, from its values at a grid from 0; None where it is none of the four families.

    `eps` is a step of the dtype that x is drawn in: quantiles nearer to 0 or 1 are cut off by rounding, not by intent.
    """
    if x.dtype == np.bool_ or not np.all(np.isfinite(x)):
        return None
    return _recognise(np.asarray(u, np.float64).tobytes(), np.asarray(x, np.float64).tobytes(), eps)


def mean_of_square(u: np.ndarray, x: np.ndarray, *, eps: float) -> float | None:
    """E x for the square x = y² of a number y(u) of one of the families that rises or falls with u; None for others.

    y is ±√x, with the sign of a function that passes zero where √x is smallest.
    """
    if x.dtype == np.bool_ or not np.all(np.isfinite(x)) or np.any(x < 0):
        return None
    root = np.sqrt(np.asarray(x, np.float64))
    lowest = int(np.argmin(root))
    for first in (lowest, lowest + 1):  # the last negative value is before the smallest, or is it
        found = recognise(u, np.where(np.arange(len(root)) < first, -root, root), eps=eps)
        if found is not None:
            return found.variance + found.mean**2
    return None


@functools.lru_cache(maxsize=1024)
def _recognise(u_bytes: bytes, x_bytes: bytes, eps: float) -> Moments | None:
    u, x = np.frombuffer(u_bytes), np.frombuffer(x_bytes)
    if np.all(x == x[0]):
        return Moments(CONSTANT, float(x[0]), 0.0)
    return _uniform(u, x) or _normal(u, x, eps)


def _uniform(u: np.ndarray, x: np.ndarray) -> Moments | None:
    """x = low + (high - low) u: mean (low + high)/2, variance (high - low)²/12."""
    span = (x[-1] - x[0]) / u[-1]
    if np.max(np.abs(x - x[0] - span * u)) > 1e-9 * np.max(np.abs(x)):
        return None
    return Moments(UNIFORM, float(x[0] + span / 2), float(span**2 / 12))


def _normal(u: np.ndarray, x: np.ndarray, eps: float) -> Moments | None:
    """x = m + s Φ⁻¹(A + B u), with the moments of the normal law between its two quantiles."""
    if not (np.all(np.diff(x) > 0) or np.all(np.diff(x) < 0)):
        return None
    start = _location_and_scale(u, x)
    fitted = start and _polished(u, x, *start)
    if not fitted:
        return None
    m, s, low, high = fitted
    if low < eps and high > 1 - eps:
        return Moments(NORMAL, m, s**2)
    return _truncated(m, s, low, high)


def _location_and_scale(u: np.ndarray, x: np.ndarray) -> tuple[float, float] | None:
    """m and s from x''/x'² = (x - m)/s², which holds for these functions and no others."""
    first, second = _derivatives(x, u[1] - u[0])
    inner = slice(len(x) // 8, -len(x) // 8)
    y, ratio = x[_STENCIL:-_STENCIL][inner], (second / first**2)[inner]
    slope, intercept = np.polynomial.Polynomial.fit(y, ratio, 1).convert().coef[::-1]
    straight = np.max(np.abs(slope * y + intercept - ratio)) <= 1e-4 * np.max(np.abs(ratio))
    return (-intercept / slope, slope**-0.5) if straight and slope > 0 else None


def _derivatives(x: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative by central differences of eighth order."""
    size, count = len(x), 2 * _STENCIL + 1
    shifted = np.stack([x[i : size - count + 1 + i] for i in range(count)], axis=1)
    first = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
    second = np.array([-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560])
    return shifted @ first / h, shifted @ second / h**2


def _polished(u: np.ndarray, x: np.ndarray, m: float, s: float) -> tuple[float, float, float, float] | None:
    """Gauss-Newton on Φ((x - m)/s) = A + B u; the two quantiles are A and A + B, in rising order."""
    a = b = 0.0
    for _ in range(8):
        z = (x - m) / s
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        jacobian = np.stack([-density, -z * density, -np.ones_like(u), -u], axis=1)
        residual = 0.5 * (1 + _erf(z / math.sqrt(2))) - a - b * u
        step = np.linalg.lstsq(jacobian, -residual, rcond=None)[0]
        m, s, a, b = m + s * step[0], s * (1 + step[1]), a + step[2], b + step[3]
        if not (math.isfinite(m) and s > 0):
            return None
    misfit = np.max(np.abs(0.5 * (1 + _erf((x - m) / s / math.sqrt(2))) - a - b * u))
    return (m, s, min(a, a + b), max(a, a + b)) if misfit <= 1e-9 * abs(b) else None


def _truncated(m: float, s: float, low: float, high: float) -> Moments:
    """Mean m + s (φ(α) - φ(β))/Z and variance s² [1 + (αφ(α) - βφ(β))/Z - ((φ(α) - φ(β))/Z)²], Z = Φ(β) - Φ(α)."""
    (a_pdf, a_moment), (b_pdf, b_moment), mass = _edge(low), _edge(high), high - low
    shift = (a_pdf - b_pdf) / mass
    return Moments(TRUNCATED, m + s * shift, s**2 * (1 + (a_moment - b_moment) / mass - shift**2), (low, high))


def _edge(quantile: float) -> tuple[float, float]:
    """φ(z) and z φ(z) at a quantile's z; both vanish at the ends."""
    if not 0 < quantile < 1:
        return 0.0, 0.0
    z = NormalDist().inv_cdf(quantile)
    return NormalDist().pdf(z), z * NormalDist().pdf(z)
