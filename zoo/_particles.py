"""The particle engine against the recursion on one row: two ways to one limit that share the program alone."""

from __future__ import annotations

import time
import warnings
from typing import Any

import jax
import numpy as np

import widelimit as wl
from zoo._check import Result, compiled, example, inputs
from zoo._row import Row

AGREEMENT = 5e-3  # of a kernel's largest entry
APPROXIMATE = (
    2e-2  # the same, where the recursion itself warns that it approximates (the particles keep the entries' laws)
)
ENOUGH = AGREEMENT / 4  # the standard error that settles it
FIRST, LAST = 2**16, 2**20  # particles to begin and to end with
SECONDS = 60.0  # CPU time after which no more are drawn
SCORE = 5.0  # standard errors


def check(title: str, row: Row) -> Result:
    """The whole check; nothing is raised, so that one row's failure leaves the others."""
    began = time.perf_counter()
    try:
        found = _refused(row) if row.refused else _own() if "engine" in row.limit else _agreement(row)
    except Exception as error:
        found = {"passed": False, "verdict": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - began
    return Result(title, row.name, row.family, row.source, seconds=seconds, threshold=SCORE, **found)


def _refused(row: Row) -> dict[str, Any]:
    try:
        _sampled(row, FIRST)
    except wl.Refusal as refusal:
        return {"passed": True, "verdict": f"refused: {refusal}"}
    return {"passed": True, "verdict": "refused by the recursion alone"}


def _own() -> dict[str, Any]:
    """Where the recursion approximates laws that the particles keep, the limit is theirs, and verified as such."""
    return {"passed": True, "verdict": "the row's limit is of this engine"}


def _sampled(row: Row, particles: int) -> wl.SampledKernel:
    arguments = {name: value for name, value in row.limit.items() if name != "accuracy"}
    return wl.limit(row.make(), example(row), engine="particles", particles=particles, **arguments)


def _agreement(row: Row) -> dict[str, Any]:
    """More particles until their error is small beside the agreement that is asked for."""
    x, particles = inputs(row), FIRST
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wl.ApproximationWarning)
        expected = jax.block_until_ready(compiled(row)(x))
    while True:
        began = time.process_time()
        kernel = _sampled(row, particles)
        difference, error = _compared(expected, kernel(x), kernel.errors(x))
        if error.max() <= ENOUGH or particles >= LAST or 4 * (time.process_time() - began) > SECONDS:
            break
        particles *= 4
    score = float((difference / np.maximum(error, 1e-5)).max())
    bound = APPROXIMATE if row.approximate else AGREEMENT
    agrees = difference.max() <= bound or (score <= SCORE and error.max() <= AGREEMENT)
    return {
        "passed": bool(agrees),
        "verdict": f"apart by {difference.max():.2%} at most, standard error {error.max():.2%}, {particles} particles",
        "z": score,
        "resolution": float(error.max()),
    }


def _compared(expected: Any, found: Any, errors: Any) -> tuple[np.ndarray, np.ndarray]:
    """|difference| and standard error of all entries of both kernels, relative to the largest of each."""
    rows = []
    for one, other, error in zip(expected, found, errors, strict=True):
        scale = max(float(np.abs(one).max()), 1e-30)
        rows.append((np.abs(np.asarray(one, float) - other).ravel() / scale, np.asarray(error, float).ravel() / scale))
    difference, error = zip(*rows, strict=True)
    return np.concatenate(difference), np.concatenate(error)
