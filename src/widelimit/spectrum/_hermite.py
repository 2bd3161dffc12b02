"""Hermite coefficients of an activation, and its dual kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from widelimit.gaussian import Pointwise, panel_marks, values_at

_REACH = 26.0  # standard deviations: e^{-z²/4} is below 1e-73 beyond
_WIDEST, _NODES = 0.5, 24  # panels: 48 nodes a standard deviation resolve degrees in the thousands


class Hermite(NamedTuple):
    """φ(m + s z) = Σ_k a_k h_k(z) in L²(N(0, 1)).

    Attributes:
        coefficients: a_0, …, a_K (float64, NumPy).
        square: E[φ²], of which Σ a_k² falls short by the tail.
    """

    coefficients: Float[ndarray, " k"]
    square: float

    @property
    def tail(self) -> float:
        """E[φ²] - Σ_{k≤K} a_k²: what the coefficients beyond the highest degree hold."""
        return max(self.square - float(np.sum(self.coefficients**2)), 0.0)

    def dual(self, rho: Any) -> Float[ndarray, " ..."]:
        """κ(ρ) = E[φ(u)φ(v)] = Σ_k a_k² ρ^k for u, v of correlation ρ (Mehler); the tail is left out."""
        return np.polynomial.polynomial.polyval(np.asarray(rho, np.float64), self.coefficients**2)

    def dual_derivative(self, rho: Any) -> Float[ndarray, " ..."]:
        """κ'(ρ) = s² E[φ'(u)φ'(v)] = Σ_k k a_k² ρ^{k-1}."""
        series = self.coefficients**2 * np.arange(len(self.coefficients))
        return np.polynomial.polynomial.polyval(np.asarray(rho, np.float64), series[1:] if len(series) > 1 else series)


def hermite(phi: Callable[..., Any], degree: int = 32, *, mean: float = 0.0, variance: float = 1.0) -> Hermite:
    """a_k = E[φ(m + s z) h_k(z)], z ~ N(0, 1), h_k the orthonormal Hermite polynomials; k = 0, …, degree.

    By Gauss-Legendre panels that end at the kinks and jumps of φ, which are found from its values, and follow its own
    scale; absolute error about 1e-14 √E[φ²]. Computed in float64 whatever JAX's setting.

    Args:
        phi: The activation, elementwise, of `jax.numpy` functions.
        degree: The highest degree.
        mean: m, the mean of the pre-activation.
        variance: s², its variance.

    Returns:
        A `Hermite`: `.coefficients` (degree + 1,), `.square`, `.tail`, `.dual(rho)`.

    Raises:
        ValueError: Where the degree or the variance is negative.
    """
    if degree < 0 or not variance > 0:
        raise ValueError(
            f"`wl.spectrum.hermite(phi, {degree}, variance={variance})`: expected degree >= 0 and variance > 0"
        )
    function = Pointwise(phi, 1, getattr(phi, "__name__", "activation"))
    scale = math.sqrt(variance)
    z, weight = _panels((np.asarray(panel_marks(function)) - mean) / scale)
    values = values_at(function, mean + scale * z)
    damped = weight * np.exp(-(z**2) / 4) / math.sqrt(2 * math.pi) * values
    coefficients = np.array([row @ damped for row in _functions(z, degree)])
    square = np.sum(weight * np.exp(-(z**2) / 2) * values**2) / math.sqrt(2 * math.pi)
    return Hermite(coefficients, float(square))


def _panels(marks: ndarray) -> tuple[ndarray, ndarray]:
    """Nodes and weights on [-R, R], panels ending at the marks and nowhere wider than _WIDEST."""
    inside = marks[np.abs(marks) < _REACH]
    ends = np.unique(np.concatenate([np.arange(-_REACH, _REACH + _WIDEST / 2, _WIDEST), inside]))
    x, w = np.polynomial.legendre.leggauss(_NODES)
    half, middle = np.diff(ends)[:, None] / 2, (ends[1:, None] + ends[:-1, None]) / 2
    return (middle + half * x).ravel(), (half * w).ravel()


def _functions(z: ndarray, degree: int):
    """h_k(z) e^{-z²/4}, which stays bounded."""
    before, now = np.zeros_like(z), np.exp(-(z**2) / 4)
    yield now
    for k in range(degree):
        before, now = now, (z * now - math.sqrt(k) * before) / math.sqrt(k + 1)
        yield now
