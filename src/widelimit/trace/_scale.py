"""How a number grows with the width: c · n^a, read from its values at a few widths."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

_POWERS = tuple(Fraction(p) for p in ("1", "-1", "1/2", "-1/2", "2", "-2"))
_EXPONENTS = tuple(Fraction(a) for a in ("0", "1/2", "-1/2", "1", "-1", "3/2", "-3/2", "2", "-2"))
_SINGLE, _DOUBLE = 2.0**-23, 2.0**-52  # a step of float32, of float64
_SIMPLE = 10_000  # numerator · denominator of a number that is taken to be meant exactly


@dataclasses.dataclass(frozen=True)
class Scale:
    """The number coefficient · n^exponent as the width n grows; zero is `Scale(0.0, Fraction(0))`."""

    coefficient: float
    exponent: Fraction = Fraction(0)

    def at(self, width: int | float) -> float:
        return self.coefficient * float(width) ** float(self.exponent)

    def __mul__(self, other: Scale | int | float) -> Scale:
        other = _scale(other)
        return _tidy(self.coefficient * other.coefficient, self.exponent + other.exponent)

    __rmul__ = __mul__

    def __truediv__(self, other: Scale | int | float) -> Scale:
        return self * _scale(other) ** -1

    def __pow__(self, power: int | float | Fraction) -> Scale:
        return _tidy(self.coefficient ** float(power), self.exponent * Fraction(power))

    def __neg__(self) -> Scale:
        return Scale(-self.coefficient, self.exponent)

    def __str__(self) -> str:
        return f"{self.coefficient:.6g}" + (f"·n^({self.exponent})" if self.exponent else "")

    @property
    def is_zero(self) -> bool:
        return self.coefficient == 0


def _scale(value: Scale | int | float) -> Scale:
    return value if isinstance(value, Scale) else Scale(float(value), Fraction(0))


def _tidy(coefficient: float, exponent: Fraction) -> Scale:
    return Scale(coefficient, exponent if coefficient else Fraction(0))


def fit(values: Sequence[int | float], widths: Sequence[int], *, eps: float | None = None) -> Scale:
    """The leading order c · n^a of a number from its values at the widths.

    Exact powers (a a multiple of 1/4 or 1/3) are recognised from two widths on, n^a (c + d/n)^p, with p = ±1/2, ±1, ±2,
    from three: 1/(n - 1), √(n + 3), n/(n + 1). `eps` is the relative precision of the values, by default a step of float32
    if all are float32 numbers, else of float64; within it, a coefficient that is a ratio of small whole numbers is
    taken to be meant exactly: 2/n stored in float32 at each width is Scale(2.0, -1).

    Raises ValueError, with the values, where none of these fits.
    """
    v, n = np.asarray(values, np.float64), np.asarray(widths, np.float64)
    if v.shape != n.shape or v.ndim != 1 or not len(v):
        raise ValueError(
            f"`fit(values, widths)` expects one value a width, got {list(values)} at the widths {list(widths)}"
        )
    if not np.any(v):
        return Scale(0.0, Fraction(0))
    if not np.all(np.isfinite(v)) or not (np.all(v > 0) or np.all(v < 0)):
        raise ValueError(_unread(v, widths))
    eps = _precision(v) if eps is None else eps
    sign = float(np.sign(v[0]))
    found = _power(sign * v, n, eps) or _shifted_power(sign * v, n, eps)
    if found is None:
        raise ValueError(_unread(v, widths))
    return Scale(sign * found.coefficient, found.exponent)


def _precision(v: np.ndarray) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return _SINGLE if np.array_equal(v, v.astype(np.float32)) else _DOUBLE


def _unread(values: np.ndarray, widths: Sequence[int]) -> str:
    table = ", ".join(f"{x:.6g} at width {n}" for x, n in zip(values, widths, strict=True))
    return (
        f"the number {table} is not c·n^a as the width n grows (to leading order); write it with powers of the width, "
        "such as 1/n or sqrt(2/n), or of sizes proportional to the width, and the same rule at every width"
    )


def _tolerance(eps: float) -> float:
    return max(1e-5, 16 * eps)


def _power(v: np.ndarray, n: np.ndarray, eps: float) -> Scale | None:
    """c · n^a exactly."""
    if len(set(n)) < 2:
        return Scale(nearest_simple(float(v.mean()), eps), Fraction(0)) if np.ptp(v) <= _tolerance(eps) * v[0] else None
    slope = np.polynomial.Polynomial.fit(np.log(n), np.log(v), 1).convert().coef[-1]
    for most in (4, 3):
        exponent = Fraction(float(slope)).limit_denominator(most)
        c = v * n ** -float(exponent)
        if np.ptp(c) <= _tolerance(eps) * c.min():
            return Scale(nearest_simple(float(c.mean()), eps), exponent)
    return None


def _shifted_power(v: np.ndarray, n: np.ndarray, eps: float) -> Scale | None:
    """n^a (c + d/n)^p: the candidate that fits best, if it fits."""
    if len(set(n)) < 3:
        return None
    misfit, exponent, c, extrapolated = min(_candidates(v, n))
    return Scale(nearest_simple(c, extrapolated * eps), exponent) if misfit <= _tolerance(eps) else None


def _candidates(v: np.ndarray, n: np.ndarray) -> Iterator[tuple[float, Fraction, float, float]]:
    """How far each candidate strays, its exponent, its coefficient, and by how much that magnifies rounding."""
    yield math.inf, Fraction(0), 0.0, 1.0
    for exponent, p in itertools.product(_EXPONENTS, _POWERS):
        root = (v * n ** -float(exponent)) ** float(1 / p)
        c, misfit = _line(1 / n, root)
        # A line through (nearly) zero at n = ∞ says that the exponent is another one.
        if c > 1e-3 * root.max():
            yield misfit, exponent, c ** float(p), 8 * root.max() / c


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The height at zero of the line through the points, and how far they stray from it, relatively."""
    basis = np.stack([np.ones_like(x), x / x.max()], axis=1)
    line = np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(line[0]), float(np.max(np.abs(basis @ line - y)) / np.max(np.abs(y)))


def nearest_simple(c: float, eps: float) -> float:
    """The ratio of small whole numbers that a positive number of precision `eps` can only be meant to be, or the number.

    Its square root is asked too: the standard deviation 0.015 is meant to have the variance 0.015². The coarser the
    precision, the smaller the whole numbers must be, so that hardly any number is near such a ratio by chance.
    """
    tolerance = max(1e-8, 3 * eps)
    simple = min(_SIMPLE, 0.1 / tolerance)
    for power in (1, 2):
        root, slack = c ** (1 / power), tolerance / power
        ratio = _simplest(Fraction(root * (1 - slack)), Fraction(root * (1 + slack)))
        if ratio.numerator * ratio.denominator <= simple:
            return float(ratio**power)
    return c


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of smallest denominator between two positive numbers (a walk down their continued fractions)."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / _simplest(1 / (high - whole + 1), 1 / (low - whole + 1))
