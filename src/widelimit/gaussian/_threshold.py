"""Where a function that is a polynomial on each side of one place has that place, from its values."""

from collections.abc import Iterator

import numpy as np

from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._probe import Sample, dense, probe

_ORDER = 4  # differences of this order vanish on polynomials up to degree 3
_SIDE = 60  # points a side for its polynomial
_ROUNDS, _CUTS = 14, 33


def candidates(phi: Pointwise, points: np.ndarray, sample: Sample) -> Iterator[float]:
    """Places where a step, a kink or a jump of a higher derivative may be; none if there is more than one window.

    `sample` holds the function's values at `points`, the common grid.
    """
    x = dense()
    y = sample.values[np.searchsorted(points, x)]
    window = _window(x, y, sample.rounding)
    if window is None:
        return
    low, high = window
    if low < _SIDE or high > len(x) - _SIDE:
        return
    centre = (x[low] + x[high - 1]) / 2
    below, above = (
        np.polynomial.Polynomial.fit(x[s] - centre, y[s], _ORDER - 1).convert()
        for s in (slice(low - _SIDE, low), slice(high, high + _SIDE))
    )
    width = x[high - 1] - x[low]
    for root in _roots(_clean(above - below)):
        if abs(root.imag) < 1e-9 and abs(root.real) <= width:
            yield from _neat(float(root.real + centre))
    yield from _neat(_step(phi, x[low], x[high - 1]))


def _roots(jump: np.polynomial.Polynomial) -> np.ndarray:
    """Of the derivatives, the highest first: a multiple root is lost to rounding by half its digits, but not in them."""
    return np.concatenate([jump.deriv(k).roots() for k in reversed(range(_ORDER - 1))])


def _clean(p: np.polynomial.Polynomial) -> np.polynomial.Polynomial:
    """Without coefficients that are rounding: their roots would be noise."""
    return np.polynomial.Polynomial(np.where(np.abs(p.coef) > 1e-9 * np.abs(p.coef).max(), p.coef, 0)).trim()


def _window(x: np.ndarray, y: np.ndarray, rounding: float) -> tuple[int, int] | None:
    """The one range of indices outside which differences vanish."""
    if not np.all(np.isfinite(y)):
        return None
    size = np.convolve(np.abs(y), np.ones(_ORDER + 1), "valid") + np.abs(y).mean()
    bent = np.flatnonzero(np.abs(np.diff(y, _ORDER)) > 64 * rounding * size)
    if not bent.size or bent[-1] - bent[0] > 2 * _ORDER:
        return None
    return int(bent[0]), int(bent[-1]) + _ORDER + 1


def _step(phi: Pointwise, low: float, high: float) -> float:
    """The largest change between neighbours, narrowed down to rounding."""
    for _ in range(_ROUNDS):
        x = np.linspace(low, high, _CUTS)
        sample = probe(phi, x)
        if sample is None:
            break
        i = int(np.nan_to_num(np.abs(np.diff(sample.values))).argmax())
        low, high = x[i], x[i + 1]
    return float((low + high) / 2)


def _neat(place: float) -> Iterator[float]:
    """First the fraction with a small denominator next to it, if rounding cannot tell them apart."""
    neat = round(place * 5040) / 5040
    short = round(place, 6)
    for near in (neat, short):
        if abs(near - place) < 1e-11 * max(1.0, abs(place)) and near:
            yield near
            return
    if place:
        yield place
