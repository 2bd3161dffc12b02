"""Where a function could hide something from a grid: the places where a quantity inside its code vanishes or turns.

A kink, a step or a narrow bump comes from a comparison, or from a distance that becomes small; both can be seen in the
intermediate values of the code from far away, where the function's own values show nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit._primitives import called
from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._stepwise import stepwise

_CELLS, _CUTS, _ROUNDS = 32, 64, 3
_DISTANCES = np.concatenate([[1e-300, 1e-30], np.geomspace(1e-15, 3.0, 46)])
_LARGE, _LARGEST = 1e4, 1e30


def hidden_points(phi: Pointwise, points: np.ndarray) -> np.ndarray:
    """Points around every place, at distances of every size; empty if the code cannot be read.

    `points` is an ascending grid. φ must have no parameters.
    """
    try:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True), np.errstate(all="ignore"):
            closed = jax.make_jaxpr(phi.fn)(jax.ShapeDtypeStruct((2,), np.float64))
            inside = _evaluator(phi.fn)
            places = _refined(inside, points)
    except (TypeError, ValueError, NotImplementedError, jax.errors.JAXTypeError):
        return np.zeros(0)
    around = places[:, None] + np.concatenate([-_DISTANCES, _DISTANCES])
    far = np.outer([-2, -1, -0.5, 0.5, 1, 2], [c for c in _numbers(closed.jaxpr) if _LARGE < abs(c) < _LARGEST])
    return np.unique(np.concatenate([around.ravel(), far.ravel()]))


def _refined(inside: Callable[[np.ndarray], list[np.ndarray]], points: np.ndarray) -> np.ndarray:
    """The turning points of all intermediate values, each narrowed down cell by cell."""
    cells = _turning(inside(points), points)
    for _ in range(_ROUNDS):
        if not len(cells):
            break
        rows = cells[:_CELLS]
        rows = np.concatenate([rows, np.repeat(rows[-1:], _CELLS - len(rows), 0)])
        fine = rows[:, :1] + (rows[:, 1:] - rows[:, :1]) * np.linspace(0, 1, _CUTS)
        cells = _turning(inside(fine.ravel()), fine.ravel())
    return np.unique(cells.mean(1)) if len(cells) else np.zeros(0)


def _turning(values: list[np.ndarray], points: np.ndarray) -> np.ndarray:
    """(cells, 2): neighbouring points between which a value changes sign, or where it turns; nearest to 0 first."""
    found = [np.zeros((0, 2))]
    for v in values:
        sign = np.sign(v)
        i = np.flatnonzero((sign[1:] != sign[:-1]) & (points[1:] > points[:-1]))
        found.append(np.stack([points[i], points[i + 1]], 1))
        slope = np.sign(np.diff(v))
        j = np.flatnonzero((slope[1:] * slope[:-1] < 0) & (points[2:] > points[1:-1]) & (points[1:-1] > points[:-2]))
        found.append(np.stack([points[j], points[j + 2]], 1))
    cells = np.unique(np.concatenate(found), axis=0)
    return cells[np.argsort(np.abs(cells.mean(1)), kind="stable")]


def _evaluator(fn: Callable) -> Callable[[np.ndarray], list[np.ndarray]]:
    """u -> all intermediate values of the code that depend on u, as floats."""

    def inside(points: np.ndarray) -> list[np.ndarray]:
        u = jnp.asarray(points, np.float64)
        _, steps = stepwise(fn, u)
        return [
            np.nan_to_num(np.asarray(x, np.float64)) for x in steps if x.shape == u.shape and x.dtype.kind in "fbiu"
        ]

    return inside


def _numbers(jaxpr: Any) -> Iterator[float]:
    """The numbers written in the code."""
    for eqn in jaxpr.eqns:
        for x in eqn.invars:
            if hasattr(x, "val") and np.ndim(x.val) == 0 and np.asarray(x.val).dtype.kind in "fiu":
                yield float(x.val)
        if (body := called(eqn)) is not None:
            yield from _numbers(body.jaxpr)
