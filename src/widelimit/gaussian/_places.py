"""Where a function could hide something from a grid: the places where a quantity inside its code vanishes or turns.

A kink, a step or a narrow bump comes from a comparison, or from a distance that becomes small; both can be seen in the
intermediate values of the code from far away, where the function's own values show nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.gaussian._pointwise import Pointwise

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

    def every(u: jax.Array) -> list[jax.Array]:
        closed = jax.make_jaxpr(fn)(u)
        kept: list[jax.Array] = []
        _run(closed.jaxpr, closed.consts, [u], kept)
        return [x.astype(u.dtype) for x in kept if x.shape == u.shape and x.dtype.kind in "fbiu"]

    compiled = jax.jit(every)
    return lambda points: [np.nan_to_num(np.asarray(x)) for x in compiled(jnp.asarray(points, np.float64))]


def _run(jaxpr: Any, consts: list, args: list, kept: list) -> list:
    """The outputs of a jaxpr; what each of its equations gives is appended to `kept`."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(x: Any) -> Any:
        return x.val if hasattr(x, "val") else values[x]

    for eqn in jaxpr.eqns:
        inputs = [read(x) for x in eqn.invars]
        inner = _inner(eqn.params)
        if inner is not None and len(inner.jaxpr.invars) == len(inputs):
            outputs = _run(inner.jaxpr, inner.consts, inputs, kept)
        else:
            bound = eqn.primitive.get_bind_params(eqn.params)  # a pair in older JAX, the second of it in newer
            subfuns, params = bound if isinstance(bound, tuple) else ((), bound)
            outputs = eqn.primitive.bind(*subfuns, *inputs, **params)
            outputs = outputs if eqn.primitive.multiple_results else [outputs]
            kept.extend(jnp.asarray(x) for x in outputs)
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _inner(params: dict) -> Any:
    """The body of a call (jit, custom derivative rules)."""
    body = params.get("jaxpr", params.get("call_jaxpr"))
    return body if hasattr(body, "jaxpr") and hasattr(body, "consts") else None


def _numbers(jaxpr: Any) -> Iterator[float]:
    """The numbers written in the code."""
    for eqn in jaxpr.eqns:
        for x in eqn.invars:
            if hasattr(x, "val") and np.ndim(x.val) == 0 and np.asarray(x.val).dtype.kind in "fiu":
                yield float(x.val)
        inner = _inner(eqn.params)
        if inner is not None:
            yield from _numbers(inner.jaxpr)
