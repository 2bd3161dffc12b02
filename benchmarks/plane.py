"""E[f(u)g(v)] by nested composite Gauss–Legendre rules in NumPy, far finer than needed: the reference of the accuracy table.

Written apart from the library. Panels end at the places where a function is not smooth, at a geometric grid around them
(structure of any scale), and, in the outer integral, at the inner function's places with the grid of its blur.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
REACH = 9.0  # standard deviations; what lies outside is 2e-19 of the mass
GRID = np.geomspace(0.05, 3000, 18)
GRID = np.concatenate([-GRID, [0.0], GRID])
BLUR = np.concatenate([-np.geomspace(0.02, 9, 12), [0.0], np.geomspace(0.02, 9, 12)])


class Side(NamedTuple):
    """A function, the places where it is not smooth, the standard deviation of its argument, and whether it oscillates."""

    function: object
    places: tuple[float, ...]
    scale: float
    waves: bool = False


def rule(breaks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of N(0, 1) on panels between the breaks (..., any): all along the last axis."""
    ends = np.broadcast_to([-REACH, REACH], (*breaks[0].shape[:-1], 2))
    edges = np.sort(np.clip(np.concatenate([*breaks, ends], -1), -REACH, REACH), -1)
    half, middle = (edges[..., 1:] - edges[..., :-1]) / 2, (edges[..., 1:] + edges[..., :-1]) / 2
    x = middle[..., None] + half[..., None] * NODES
    w = half[..., None] * WEIGHTS * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    return x.reshape(*x.shape[:-2], -1), w.reshape(*w.shape[:-2], -1)


def marks(places: tuple[float, ...]) -> np.ndarray:
    return np.unique(np.concatenate([place + GRID for place in (*places, 0.0)]))


def periods(side: Side, scale: float) -> np.ndarray:
    """Breaks of 20 nodes for little more than a period, in standard units."""
    return np.arange(-REACH * scale, REACH * scale, 8.0) / scale if side.waves and scale > 1 else np.zeros(1)


def mean(side: Side, centre: float = 0.0, scale: float | None = None) -> float:
    """E[f] under N(centre, scale²), by default that of the side."""
    scale = side.scale if scale is None else scale
    if scale == 0:
        return float(side.function(np.asarray(centre)))
    x, w = rule([np.linspace(-REACH, REACH, 25), (marks(side.places) - centre) / scale, periods(side, scale)])
    return float(np.sum(w * side.function(centre + scale * x)))


def expectation(left: Side, right: Side, rho: float) -> float:
    """E[f(u)g(v)] of centred Gaussians of correlation rho."""
    slope, blur = rho * right.scale, right.scale * np.sqrt((1 - rho) * (1 + rho))
    breaks = [np.linspace(-REACH, REACH, 25), marks(left.places) / left.scale, periods(left, left.scale)]
    if rho:
        breaks.append(marks(right.places) / slope)
        breaks += [(place + blur * BLUR) / slope for place in right.places]
    x, w = rule(breaks)
    x, w = x[w > 1e-30], w[w > 1e-30]
    return float(np.sum(w * left.function(left.scale * x) * _smoothed(right, slope * x, blur)))


def _smoothed(side: Side, centres: np.ndarray, blur: float) -> np.ndarray:
    """E[g] under N(centre, blur²)."""
    if blur == 0:
        return side.function(centres)
    out = np.empty_like(centres)
    for some in np.array_split(np.arange(centres.size), max(1, centres.size // 256)):
        c = centres[some, None]
        own = np.broadcast_to(np.linspace(-REACH, REACH, 9), (some.size, 9))
        waves = np.broadcast_to(periods(side, blur), (some.size, periods(side, blur).size))
        y, w = rule([own, (marks(side.places) - c) / blur, waves])
        out[some] = np.sum(w * side.function(c + blur * y), -1)
    return out


def density(side: Side, x: float) -> float:
    return float(np.exp(-0.5 * (x / side.scale) ** 2) / (side.scale * np.sqrt(2 * np.pi)))
