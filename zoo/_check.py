"""Checking one row: its limit against finite networks, or its refusal; and what that took."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import widelimit as wl
from zoo._row import Row

WIDTHS = (32, 64, 128)
DEFAULTS = {"widths": WIDTHS, "accuracy": 0.01, "cost": 3e8}


@dataclasses.dataclass(frozen=True)
class Result:
    """What was found. `passed` is the verdict; `bias` is the exponent of mean - limit in the width.

    `compile_seconds` (from the code to the first kernel of the row's inputs) and `pair_seconds` (a pair of the second
    one) are CPU time of all threads, `seconds` is wall time.
    """

    title: str
    name: str
    family: str
    source: str
    passed: bool
    verdict: str
    primitives: tuple[str, ...] = ()
    z: float | None = None
    threshold: float | None = None
    resolution: float | None = None
    bias: float | None = None
    bias_error: float | None = None
    spread: float | None = None
    compile_seconds: float | None = None
    pair_seconds: float | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def check(title: str, row: Row) -> Result:
    """The whole check; nothing is raised, so that one row's failure leaves the others."""
    began = time.perf_counter()
    try:
        found = _refused(row) if row.refused else _verified(row)
    except Exception as error:
        found = {"passed": False, "verdict": f"{type(error).__name__}: {error}"}
    return Result(
        title,
        row.name,
        row.family,
        row.source,
        primitives=_primitives(row),
        seconds=time.perf_counter() - began,
        **found,
    )


def example(row: Row) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], inputs(row))


def inputs(row: Row) -> Any:
    return row.inputs() if callable(row.inputs) else row.inputs


def compiled(row: Row, **arguments: Any) -> Any:
    """The row's kernel; an approximation that it warns of must be one the row admits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", wl.ApproximationWarning)
        kernel = wl.limit(row.make(), example(row), **{**row.limit, **arguments})
    told = [str(w.message) for w in caught if issubclass(w.category, wl.ApproximationWarning)]
    if told and not row.approximate:
        raise AssertionError(f"an approximation that the row does not admit: {told[0]}")
    return kernel


def _refused(row: Row) -> dict[str, Any]:
    try:
        compiled(row)
    except wl.Refusal as refusal:
        text = str(refusal)
        return {"passed": row.refused in text, "verdict": text}
    return {"passed": False, "verdict": f"no refusal; expected one with {row.refused!r}"}


def _verified(row: Row) -> dict[str, Any]:
    x = inputs(row)
    began = time.process_time()
    kernel = compiled(row)
    with warnings.catch_warnings():
        if row.approximate:
            warnings.simplefilter("ignore", wl.ApproximationWarning)
        kernels = _seen(kernel, x)
        first = time.process_time()
        again = _seen(kernel, x)
        second = time.process_time()
        report = wl.verify(
            row.make(),
            x,
            key=jax.random.key(0),
            kernel=kernel,
            **{"learning_rates": row.limit.get("learning_rates", "ntk"), **DEFAULTS, **row.verify},
        )
    count = len(jax.tree.leaves(x)[0])
    return {
        "passed": bool(report.passed and _sound(kernels) and _sound(again)),
        "verdict": str(report),
        "compile_seconds": first - began,
        "pair_seconds": (second - first) / count**2,
        **_figures(report),
    }


def _seen(kernel: Any, x: Any) -> Any:
    return jax.block_until_ready(kernel(x))


def _sound(kernels: Any) -> bool:
    """Finite, not zero, symmetric, and positive semi-definite up to rounding."""
    return all(_is_gram(np.asarray(k, float)) for k in (kernels.nngp, kernels.ntk))


def _is_gram(k: np.ndarray) -> bool:
    n = k.shape[0]
    half = (k.ndim - 2) // 2
    order = (0, *range(2, 2 + half), 1, *range(2 + half, k.ndim))
    size = n * int(np.prod(k.shape[2 : 2 + half]))
    matrix = k.transpose(order).reshape(size, size)
    if not np.isfinite(matrix).all() or not matrix.any():
        return False
    scale = np.abs(matrix).max()
    return bool(np.abs(matrix - matrix.T).max() <= 1e-4 * scale and np.linalg.eigvalsh(matrix).min() >= -1e-3 * scale)


def _figures(report: Any) -> dict[str, Any]:
    bias = next((b for b in (report.ntk.bias_exponent, report.nngp.bias_exponent) if b is not None), None)
    return {
        "z": max(report.nngp.largest_z, report.ntk.largest_z),
        "threshold": report.threshold,
        "resolution": report.resolution,
        "bias": None if bias is None else bias.value,
        "bias_error": None if bias is None else bias.error,
        "spread": report.ntk.spread_exponent.value if report.ntk.spread_exponent else None,
    }


# --- what the code comes down to ----------------------------------------------------------------------------------------


def _primitives(row: Row) -> tuple[str, ...]:
    """The names of the JAX primitives in `apply`."""
    try:
        network = row.make()
        params = jax.eval_shape(lambda k: network.init(k, 64), jax.random.key(0))
        closed = jax.make_jaxpr(network.apply)(params, example(row))
    except Exception:
        return ()
    return tuple(sorted(set(_names(closed.jaxpr))))


def _names(jaxpr: Any) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        inner = [j for value in eqn.params.values() for j in _inner(value)]
        if not inner:
            yield eqn.primitive.name
        for each in inner:
            yield from _names(each)


def _inner(value: Any) -> list[Any]:
    """The jaxprs in a parameter of an equation."""
    if isinstance(value, tuple | list):
        return [j for v in value for j in _inner(v)]
    value = getattr(value, "jaxpr", value)
    return [value] if hasattr(value, "eqns") else []
