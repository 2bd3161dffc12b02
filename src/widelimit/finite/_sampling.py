"""Kernels of as many networks at each width as the accuracy asked for takes."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray, PyTree
from numpy import ndarray

from ._ensemble import Bar, Draws, Family, parameters, sampler

PILOT = 64  # draws that say how many are needed, and the fewest from which a standard error is believed


class Sample(NamedTuple):
    """The kernels of all draws at one width, flat."""

    nngp: Float[ndarray, "draws entries"]
    ntk: Float[ndarray, "draws entries"]


class Limits(NamedTuple):
    """The limit's kernels at the compared examples, flat, their common shape, and the standard errors of limits that are estimates."""

    nngp: Float[ndarray, " entries"]
    ntk: Float[ndarray, " entries"]
    shape: tuple[int, ...]
    errors: dict[str, Float[ndarray, " entries"]] = {}  # noqa: RUF012  (never written to)

    def total(self, name: str, error: Float[ndarray, " entries"]) -> Float[ndarray, " entries"]:
        """The standard error of a difference from the limit."""
        return np.hypot(error, self.errors[name]) if name in self.errors else error

    def scale(self, name: str) -> float:
        """The largest entry: what errors, biases and spreads are relative to."""
        return float(np.abs(getattr(self, name)).max()) or 1.0


class Accuracy(NamedTuple):
    """The relative standard error wanted of every entry, and the most numbers that one width may draw for it."""

    error: float | int
    cost: float | int

    def draws(self, pilot: Sample, limits: Limits, size: int) -> int:
        """How many draws of `size` numbers: enough for the error, within the cost, and at least the pilot's."""
        spreads = [getattr(pilot, name).std(axis=0, ddof=1).max() / limits.scale(name) for name in ("nngp", "ntk")]
        return max(len(pilot.ntk), min(ceil((max(spreads) / self.error) ** 2), int(self.cost // size)))


def samples(
    families: Sequence[Family],
    key: PRNGKeyArray,
    sides: tuple[PyTree, PyTree],
    limits: Limits,
    *,
    draws: Sequence[int] | None,
    accuracy: Accuracy,
    memory: float | int,
    progress: bool,
) -> list[Sample]:
    """`draws` at each width or, without them, a pilot that says how many more it takes."""
    counts = draws or [PILOT] * len(families)
    goal = None if draws else (accuracy, limits)
    drawn = []
    for family, count in zip(families, counts, strict=True):
        draw = sampler(family, key, *sides, memory=memory)
        with Bar(progress, family.width, count) as shown:
            drawn.append(_sample(draw, shown, count, goal, size=parameters(family, key)))
    return drawn


def _sample(draw: Callable, shown: Bar, count: int, goal: tuple[Accuracy, Limits] | None, *, size: int) -> Sample:
    """`count` draws and, with a goal, as many more as they show to be needed.

    The first estimate of that, from few draws, is rough; the next ones are better: three in all.
    """
    sample = _kernels(shown(draw(0, count)))
    for _ in range(3 if goal else 0):
        accuracy, limits = goal
        done, total = len(sample.ntk), accuracy.draws(sample, limits, size)
        shown.extend(total - done)
        sample = _joined(sample, shown(draw(done, total)))
    return sample


def _joined(first: Sample, rest: Iterator[Draws]) -> Sample:
    parts = [first, *(_kernels([chunk]) for chunk in rest)]
    return Sample(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _kernels(chunks: Iterator[Draws] | list[Draws]) -> Sample:
    pairs = [(chunk.nngp, chunk.ntk) for chunk in chunks]
    stacked = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return Sample(*(kernel.reshape(len(kernel), -1).astype(float) for kernel in stacked))
