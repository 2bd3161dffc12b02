"""Kernels that are functions of one angle, as a short series that replaces all layers.

For a homogeneous network (`_homogeneous`) K(x, x') = (|h| |h'|)ᵖ κ(θ). Each layer is a map of the angle, analytic on [0, π]
where the nonlinearities are continuous; for ReLU 1/θ grows by about 1/3π a layer, so that the nearest singularity of κ after L layers
is near θ = −3π/L. In s = w/(w + a) with w = tan(θ/4) and a of the size of that distance, κ is a polynomial of moderate
degree to all digits, whatever the depth. Its coefficients come from the recursion itself, in float64, at the Chebyshev nodes
of one a; the nodes of the others check it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

_SCALES = (4.0, 1.0, 0.25, 0.125, 0.0625)  # the a that are tried
_NODES = 48  # for each of them
_LONGEST = 28  # degree
_EPS = float(np.finfo(np.float32).eps)
_ROUNDINGS = 8.0  # relative error, in roundings, that evaluation may have


@dataclasses.dataclass(frozen=True)
class Series:
    """Σ_k c_k tᵏ for each of several kernels, t in [−1, 1] linear in s = w/(w + scale), w = tan(θ/4)."""

    scale: float
    coefficients: tuple[ndarray, ...]

    def __call__(self, numerator: Any, denominator: Any) -> list[Any]:
        """The kernels at w = numerator/denominator, both of them NumPy's or JAX's."""
        t = (2 + 2 * self.scale) * (numerator / (numerator + self.scale * denominator)) - 1
        return [_horner(c, t) for c in self.coefficients]


def _horner(coefficients: ndarray, t: Any) -> Any:
    number = t.dtype.type
    return functools.reduce(lambda value, c: value * t + number(c), coefficients[-2::-1], number(coefficients[-1]))


def angles() -> ndarray:
    """All angles at which the kernels have to be known."""
    return np.concatenate([_angles(scale) for scale in _SCALES])


def _places() -> ndarray:
    return np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)


def _angles(scale: float) -> ndarray:
    s = (_places() + 1) / (2 + 2 * scale)
    return 4 * np.arctan(scale * s / (1 - s))


def series(values: Sequence[ndarray]) -> Series | None:
    """The shortest series of kernels with these values at `angles()`, in float64; `None` if none is exact to float32.

    Exact to float64 it would be so long that its powers lose digits.
    """
    apart = [np.split(v, len(_SCALES)) for v in values]
    found = [_fitted(scale, [v[i] for v in apart]) for i, scale in enumerate(_SCALES)]
    shortest = min((s for s in found if s is not None), key=lambda s: max(map(len, s.coefficients)), default=None)
    return shortest if shortest is not None and _holds(shortest, values) else None


def _fitted(scale: float, values: list[ndarray]) -> Series | None:
    """By interpolation; `None` where it takes too many terms."""
    basis = np.polynomial.chebyshev.chebvander(_places(), _NODES - 1)
    coefficients = []
    for v in values:
        c = basis.T @ v * (2 / _NODES)
        c[0] /= 2
        beyond = np.append(np.cumsum(np.abs(c[::-1]))[::-1][1:], 0.0)  # all terms after each
        small = _EPS / 2 * np.abs(v).min()
        degree = int(np.argmax(beyond <= small))
        if beyond[degree] > small or degree > _LONGEST:
            return None
        coefficients.append(np.polynomial.chebyshev.cheb2poly(c[: degree + 1]))
    return Series(scale, tuple(coefficients))


def _holds(series: Series, values: Sequence[ndarray]) -> bool:
    """Whether every kernel is right at every angle, relative to its value there, as computed in float32."""
    w = np.tan(angles() / 4).astype(np.float32)
    found = series(w, np.ones_like(w))
    return all(bool((np.abs(f - v) <= _ROUNDINGS * _EPS * np.abs(v)).all()) for f, v in zip(found, values, strict=True))
