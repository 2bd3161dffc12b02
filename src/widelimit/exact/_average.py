"""The outputs of an ensemble: their mean and scatter over the networks seen so far."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from . import _arguments
from ._arccosine import Regime
from ._basis import BasisTask, Threshold


class Outputs(NamedTuple):
    """Outputs of some networks, each on its own; with antithetic pairs, of the averages of pairs."""

    values: Float[ndarray, "units n outputs"]
    members: int
    steps: int

    def average(self, task: BasisTask, x: Bool[ndarray, "n k"], regime: Regime) -> "Average":
        values = self.values.astype(float)
        mean = values.mean(0)
        counts = {"members": self.members, "units": len(values), "steps": self.steps}
        return Average(task, x, regime=regime, mean=mean, squares=((values - mean) ** 2).sum(0), **counts)


class Average:
    """Mean and variance over an ensemble of trained networks; `first + second` is that of both.

    `members` networks in `units` (networks, or antithetic pairs); `mean` (n, outputs); `steps`: the most that a
    network's training took. `regime` names the limit that the networks have.
    """

    def __init__(
        self,
        task: BasisTask,
        x: Bool[ndarray, "n k"],
        *,
        regime: Regime,
        members: int,
        units: int,
        mean: Any,
        squares: Any,
        steps: int,
    ):
        self.task, self.x, self.regime, self.members, self.units = task, x, regime, members, units
        self.mean: Float[ndarray, "n outputs"] = mean
        self.steps = steps
        self._squares = squares

    @property
    def variance(self) -> Float[ndarray, "n outputs"]:
        """Of one unit's outputs, unbiased; nan for a single unit."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._squares / np.float64(self.units - 1)

    @property
    def error(self) -> Float[ndarray, "n outputs"]:
        """Standard error of `mean`."""
        return np.sqrt(self.variance / self.units)

    def rounded(self, threshold: Threshold = "zero") -> Bool[ndarray, "n outputs"]:
        """The averaged outputs as bits."""
        return self.task.round(self.mean, self.x, threshold, regime=self.regime)

    def correct(self, threshold: Threshold = "zero") -> Bool[ndarray, " n"]:
        """For each input, whether every output bit is the true one."""
        return (self.rounded(threshold) == self.task.truth(self.x)).all(-1)

    def __add__(self, other: "Average") -> "Average":
        """Pooled mean and sum of squares (Chan, Golub and LeVeque 1979)."""
        if not isinstance(other, Average) or not np.array_equal(self.x, other.x):
            raise ValueError("`average + other`: both must be averages at the same inputs")
        units = self.units + other.units
        difference = other.mean - self.mean
        return Average(
            self.task,
            self.x,
            regime=self.regime,
            members=self.members + other.members,
            units=units,
            mean=self.mean + difference * (other.units / units),
            squares=self._squares + other._squares + difference**2 * (self.units * other.units / units),
            steps=max(self.steps, other.steps),
        )

    def __repr__(self) -> str:
        exact = {kind: f"{self.correct(kind).mean():.2%}" for kind in ("zero", "midpoint")}
        shares = ", ".join(f"{share} with the threshold {kind}" for kind, share in exact.items())
        return f"Average({self.members} networks, {len(self.mean)} inputs; exact: {shares})"


def inputs(task: BasisTask, call: str, x: Any) -> Bool[ndarray, "n k"]:
    return np.atleast_2d(_arguments.nonzero(call, "x", x, task.k))
