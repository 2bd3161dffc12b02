"""The best of a number by a score: a grid, then golden sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_GOLDEN = (5**0.5 - 1) / 2
_SECTIONS = 30


class Choice(NamedTuple):
    """What was chosen: the value and its score; the grid that was looked at, and the scores on it."""

    value: float
    score: float
    grid: np.ndarray
    scores: np.ndarray


def choose(score: Callable[[float], Any], grid: np.ndarray, *, refine: bool) -> Choice:
    """The minimiser of a score over a grid of positive numbers, refined on the logarithmic scale between its neighbours."""
    scores = np.array([float(score(float(v))) for v in grid])
    best = int(np.argmin(scores))
    value, least = float(grid[best]), float(scores[best])
    if refine and 0 < best < len(grid) - 1:
        found = _golden(lambda u: float(score(float(np.exp(u)))), np.log(grid[best - 1]), np.log(grid[best + 1]))
        if found[1] < least:
            value, least = float(np.exp(found[0])), found[1]
    return Choice(value, least, grid, scores)


def _golden(fn: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Golden-section search."""
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fa, fb = fn(a), fn(b)
    for _ in range(_SECTIONS):
        if fa < fb:
            high, b, fb = b, a, fa
            a = high - _GOLDEN * (high - low)
            fa = fn(a)
        else:
            low, a, fa = a, b, fb
            b = low + _GOLDEN * (high - low)
            fb = fn(b)
    return (a, fa) if fa < fb else (b, fb)
