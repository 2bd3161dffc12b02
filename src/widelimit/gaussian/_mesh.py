"""Where the panels of a composite rule should end for a given function, whatever the Gaussian."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from widelimit.gaussian._kinks import concretely, kinks
from widelimit.gaussian._pointwise import Pointwise

_DEGREE = 9
_TOLERANCE = 1e-9
_FAR = 1000.0
_WIDTHS = np.geomspace(2.0**-7, 2 * _FAR, 48)
_BLIND = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Mesh(NamedTuple):
    """Marks between which a function and its derivatives are polynomials to rounding, and the centres of its structure."""

    marks: tuple[float, ...]
    centres: tuple[float, ...]  # its kinks, or the middle of the marks


BLIND = Mesh(tuple(sorted({0.0} | {sign * width for width in _BLIND for sign in (-1, 1)})), (0.0,))


def mesh(phi: Pointwise, order: int) -> Mesh:
    """The mesh of (φ, …, φ⁽ⁿ⁾), a function without parameters."""
    return phi.remember(("mesh", order), lambda: _make(phi, order))


def _make(phi: Pointwise, order: int) -> Mesh:
    places = tuple(kink.place for kink in kinks(phi))
    scale = np.max(np.abs(concretely(phi, np.linspace(-4, 4, 65) + 1e-3, order)), 1)[:, None] + 1e-12
    marks = list(places or (0.0,))
    stops = [-_FAR, *marks, _FAR]
    for a, b in pairwise(stops):
        # towards the outside from the outermost kinks, from left to right in between
        marks += _walk(phi, order, scale, b, a) if a == -_FAR else _walk(phi, order, scale, a, b)
    marks = sorted(marks)
    return Mesh(tuple(marks), places or (marks[len(marks) // 2],))


def _walk(phi: Pointwise, order: int, scale: np.ndarray, start: float, stop: float) -> list[float]:
    """Ends of the widest panels on which the stack is a polynomial of degree 9, from start to before stop."""
    out: list[float] = []
    place, sign = start, np.sign(stop - start)
    while True:
        widths = np.minimum(_WIDTHS, abs(stop - place))
        fits = _misfit(phi, order, place, sign * widths) / scale < _TOLERANCE
        width = widths[np.flatnonzero(fits.all(0))[-1]] if fits.all(0).any() else widths[0]
        place = place + sign * width
        if abs(stop - place) <= 1e-9 * max(1, abs(stop)) or len(out) > 60:
            return out
        out.append(float(place))


def _misfit(phi: Pointwise, order: int, start: float, widths: np.ndarray) -> np.ndarray:
    """Largest error (orders, widths) of the Chebyshev interpolant on each panel, away from its very ends."""
    nodes = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    probes = np.linspace(-0.999, 0.999, 24)
    chebyshev = np.polynomial.chebyshev.chebvander
    interpolate = chebyshev(probes, _DEGREE) @ np.linalg.inv(chebyshev(nodes, _DEGREE))
    u = start + 0.5 * widths[:, None] * (1 + np.concatenate([nodes, probes]))
    values = concretely(phi, u, order)
    error = values[..., : _DEGREE + 1] @ interpolate.T - values[..., _DEGREE + 1 :]
    return np.max(np.abs(error) / np.maximum(1, np.max(np.abs(values), -1, keepdims=True) / 10), -1)
