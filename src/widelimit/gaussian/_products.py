"""Recognition of polynomials times e^{λu}, sin(ωu + p), erf(z) and e^{−z²}, z = a u + b, plus a linear function.

For given inner numbers (λ; ω; a, b) the function is a linear combination of known columns. So the inner numbers are
those at which the linear least squares leave nothing (variable projection, Golub & Pereyra 1973): a coarse search,
then Gauss–Newton steps, in which the columns' derivatives in the inner numbers are columns too.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from widelimit.gaussian._forms import Atom, Bump, Erf, Exponential, Product, Sine
from widelimit.gaussian._probe import Sample, component_values

_RATES = np.geomspace(0.02, 30, 60)
_CENTRES = np.linspace(-4, 4, 17)
_SLOPES = np.geomspace(0.1, 10, 14)
_PROMISING = 0.2  # share of the function's size that the coarse search may leave
_STARTS = 3
_LITTLE = 1e-4  # what may be left while the steps are still short of quadratic convergence
_STEPS = 30

Inner = tuple[float, ...]


class Guess(NamedTuple):
    """Components to be combined with 1 and u."""

    name: str
    atoms: tuple[Atom, ...]


class _Kind(NamedTuple):
    """One kind of product: its atoms for given inner numbers, by power; where to search; powers tried in turn."""

    name: str
    atoms: Callable[[Inner, tuple[int, ...]], tuple[Atom, ...]]
    grid: tuple[Inner, ...]
    powers: tuple[tuple[int, ...], ...]


def _powered(power: int, atom: Atom) -> Atom:
    return Product(power, atom) if power else atom


def _exponentials(inner: Inner, powers: tuple[int, ...]) -> tuple[Atom, ...]:
    return tuple(_powered(n, Exponential(inner[0])) for n in range(powers[0] + 1))


def _both_exponentials(inner: Inner, powers: tuple[int, ...]) -> tuple[Atom, ...]:
    return _exponentials(inner, powers) + _exponentials((-inner[0],), powers)


def _sines(inner: Inner, powers: tuple[int, ...]) -> tuple[Atom, ...]:
    waves = Sine(inner[0], 0.0), Sine(inner[0], math.pi / 2)
    return tuple(_powered(n, wave) for n in range(powers[0] + 1) for wave in waves)


def _bells(inner: Inner, powers: tuple[int, ...]) -> tuple[Atom, ...]:
    a, centre = abs(inner[0]), inner[1]
    erfs, bumps = powers
    return tuple(_powered(n, Erf(a, -a * centre)) for n in range(erfs + 1)) + tuple(
        _powered(n, Bump(a * a, centre)) for n in range(bumps + 1)
    )


_TILTS = tuple((s * r,) for r in _RATES for s in (1.0, -1.0))
_WIDTHS = tuple((a, c) for a in _SLOPES for c in _CENTRES)
_KINDS = (
    _Kind("exponential", _exponentials, _TILTS, ((1,), (2,), (3,))),
    _Kind("hyperbolic", _both_exponentials, tuple((r,) for r in _RATES), ((1,), (2,))),
    _Kind("sine", _sines, tuple((r,) for r in _RATES), ((1,), (2,), (3,))),
    _Kind("error function", _bells, _WIDTHS, ((1, -1), (0, 1), (-1, 2), (2, -1), (1, 1), (-1, 3), (3, -1), (2, 1))),
)


def guesses(points: np.ndarray, sample: Sample) -> Iterator[Guess]:
    """Components that reproduce the function where it is of moderate size, fewest first."""
    near = (np.abs(points) < 6) & (np.abs(points) > 1e-3) & np.isfinite(sample.values)
    x, y = points[near][::3], sample.values[near][::3]
    if len(x) < 100 or not np.any(y):
        return
    for kind in _KINDS:
        yield from _of_kind(kind, x, y)


def _of_kind(kind: _Kind, x: np.ndarray, y: np.ndarray) -> Iterator[Guess]:
    for powers in kind.powers:
        left = _left_on_grid(kind, powers, x[::12], y[::12])
        for start in np.argsort(left, kind="stable")[:_STARTS]:
            found = _polished(kind, kind.grid[start], powers, x, y) if left[start] < _PROMISING else None
            if found is not None:
                yield Guess(kind.name, kind.atoms(found, powers))
                break


def _left_on_grid(kind: _Kind, powers: tuple[int, ...], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the least squares leave of y for all inner numbers of the grid, relative to its size."""
    spans, usable = _spans(kind, powers, x.tobytes())
    rest = y - (spans @ (spans.swapaxes(1, 2) @ y)[..., None])[..., 0]
    return np.where(usable, np.linalg.norm(rest, axis=1) / np.linalg.norm(y), np.inf)


@lru_cache(maxsize=64)  # most functions are searched at the same points
def _spans(kind: _Kind, powers: tuple[int, ...], points: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases of what the columns span, (grid, points, columns), and where the columns are finite."""
    x = np.frombuffer(points)
    columns = np.stack([_columns(kind, inner, powers, x) for inner in kind.grid])
    usable = np.isfinite(columns).all((1, 2))
    columns = np.where(usable[:, None, None], columns, 0)
    u, s, _ = np.linalg.svd(columns / (np.abs(columns).max(1, keepdims=True) + 1e-300), full_matrices=False)
    return u * (s > len(x) * np.finfo(float).eps * s[:, :1])[:, None], usable


def _columns(kind: _Kind, inner: Inner, powers: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, *(component_values(f, x) for f in kind.atoms(inner, powers))], 1)


def _left(
    kind: _Kind, inner: Inner, powers: tuple[int, ...], x: np.ndarray, y: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """What the least squares leave of y, its weights, and its columns, all relative to the size of each value."""
    columns = _columns(kind, inner, powers, x)
    if not np.all(np.isfinite(columns)):
        return np.inf, np.zeros(columns.shape[1]), columns
    size = np.abs(columns).max(0) + 1e-300
    weights = np.linalg.lstsq(columns / size, y, rcond=None)[0] / size
    return float(np.linalg.norm(columns @ weights - y) / np.linalg.norm(y)), weights, columns


def _polished(kind: _Kind, inner: Inner, powers: tuple[int, ...], x: np.ndarray, y: np.ndarray) -> Inner | None:
    """Gauss–Newton in the inner numbers, as long as less and less is left; `None` if something remains."""
    left, weights, columns = _left(kind, inner, powers, x, y)
    for _ in range(_STEPS):
        if not np.isfinite(left):
            return None
        step = _newton(kind, inner, powers, x, y, weights=weights, columns=columns)
        for shrink in (1.0, 0.3, 0.05):
            trial = tuple(a + shrink * float(d) for a, d in zip(inner, step, strict=True))
            tried = _left(kind, trial, powers, x, y) if all(np.isfinite(trial)) and trial[0] else (np.inf,)
            if tried[0] < left:
                break
        else:
            break
        slow = tried[0] > max(0.7 * left, _LITTLE)
        inner, (left, weights, columns) = trial, tried
        if slow:
            break
    return tuple(_neat(a) for a in inner) if left < 1e-11 else None


def _newton(kind, inner, powers, x, y, *, weights, columns) -> np.ndarray:
    """The step that, with new weights, would leave nothing if the columns were linear in the inner numbers."""
    moved = []
    for i, a in enumerate(inner):
        h = 1e-6 * max(abs(a), 1e-2)
        up, down = (
            np.stack(
                [component_values(f, x) for f in kind.atoms((*inner[:i], a + s * h, *inner[i + 1 :]), powers)],
                1,
            )
            for s in (1, -1)
        )
        moved.append((up - down) @ weights[2:] / (2 * h))
    both = np.concatenate([columns, np.stack(moved, 1)], 1)
    size = np.abs(both).max(0) + 1e-300
    solved = np.linalg.lstsq(both / size, y, rcond=None)[0] / size
    return solved[columns.shape[1] :]


def _neat(value: float) -> float:
    """The number with three decimals next to it, if rounding cannot tell them apart."""
    neat = round(value, 3)
    return neat if abs(value - neat) < 1e-9 else value
