"""What trains the network: gradient flow, and discrete steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Gradient flow dθ/dt = −Λ ∂L/∂θ, Λ the learning rates of the kernel: in function space df/dt = −Θ ∂L/∂f.

    With the squared loss it is solved in closed form. Any other loss is integrated by diffrax (the extra `dynamics`).

    Args:
        solver: The solver of diffrax; None is `diffrax.Tsit5()`. For stiff problems (long times t ≫ 1/λ_max, losses of
            great curvature) and few examples, `diffrax.Kvaerno5()`.
        tolerance: The relative and absolute error of a step; None is 1e-9 in float64, 1e-5 in float32.
        max_steps: More steps than these are an error.
    """

    solver: Any = None
    tolerance: float | None = None
    max_steps: int = 1_000_000

    def __post_init__(self) -> None:
        if self.tolerance is not None:
            _positive("wl.GradientFlow", "tolerance", self.tolerance)
        _positive("wl.GradientFlow", "max_steps", self.max_steps)


@dataclasses.dataclass(frozen=True)
class GradientDescent:
    """Gradient descent θ ← θ − η Λ ∂L/∂θ on all examples: f ← f − η Θ ∂L/∂f; t counts steps.

    Args:
        lr: η > 0, in units of the kernel's learning rates Λ. With the squared loss it must be below 2/(λ_max + κ), κ the
            decay (see `wl.train`).
    """

    lr: float

    def __post_init__(self) -> None:
        _positive("wl.GradientDescent", "lr", self.lr)

    @property
    def rates(self) -> tuple[float, float, float]:
        """η, β, and whether the step looks ahead."""
        return float(self.lr), 0.0, 0.0

    @property
    def stability(self) -> float:
        """The steps converge where η λ is below this number for every eigenvalue λ."""
        return 2.0

    @property
    def pace(self) -> float:
        """The time of gradient flow that a step goes."""
        return self.lr


@dataclasses.dataclass(frozen=True)
class Momentum:
    """Gradient descent with momentum on all examples; t counts steps.

    With g the gradient, v ← β v + g, and then θ ← θ − η Λ v (heavy ball), or θ ← θ − η Λ (g + β v) (Nesterov): the
    conventions of `optax.sgd` and `torch.optim.SGD`, v = 0 at the start. With the squared loss η (λ_max + κ) must be below
    2 (1 + β) (heavy ball), 2 (1 + β)/(1 + 2β) (Nesterov).

    Args:
        lr: η > 0.
        beta: 0 <= β < 1.
        nesterov: Whether the step looks ahead.
    """

    lr: float
    beta: float
    nesterov: bool = False

    def __post_init__(self) -> None:
        _positive("wl.Momentum", "lr", self.lr)
        if not 0 <= self.beta < 1:
            raise ValueError(f"`wl.Momentum(..., beta={self.beta})`: expected 0 <= beta < 1")

    @property
    def rates(self) -> tuple[float, float, float]:
        """η, β, and whether the step looks ahead."""
        return float(self.lr), float(self.beta), float(self.nesterov)

    @property
    def stability(self) -> float:
        """The steps converge where η λ is below this number for every eigenvalue λ."""
        return 2 * (1 + self.beta) / (1 + 2 * self.beta if self.nesterov else 1)

    @property
    def pace(self) -> float:
        """The time of gradient flow that a step goes."""
        return self.lr / (1 - self.beta)


@dataclasses.dataclass(frozen=True, eq=False)
class SGD:
    """Gradient descent on minibatches: step s is f ← f − η Θ(·, B_s) ∂L(f(B_s))/∂f, the loss summed over the minibatch.

    Args:
        lr: η > 0.
        batches: (steps, B) integers: the indices of the examples of every step, in the order in which a finite network sees
            them. An index that stands twice in a row counts twice.
    """

    lr: float
    batches: Any

    def __post_init__(self) -> None:
        _positive("wl.SGD", "lr", self.lr)
        batches = np.asarray(self.batches)
        if batches.ndim != 2 or batches.dtype.kind not in "iu" or not batches.size:
            raise ValueError(
                f"`wl.SGD(lr, batches)`: got batches of shape {batches.shape} and dtype {batches.dtype}; expected integers of "
                "shape (steps, B), the indices of the examples of every step"
            )
        object.__setattr__(self, "batches", batches)

    @property
    def rates(self) -> tuple[float, float, float]:
        """η, β, and whether the step looks ahead."""
        return float(self.lr), 0.0, 0.0

    @property
    def stability(self) -> float:
        """No step grows the residual where η λ is below this number, λ the largest eigenvalue of Θ on the minibatch."""
        return 2.0


Optimizer = GradientFlow | GradientDescent | Momentum | SGD
Discrete = GradientDescent | Momentum | SGD


def _positive(call: str, name: str, value: Any) -> None:
    if not _numbers([value]) or not 0 < value < float("inf"):
        raise ValueError(f"`{call}(..., {name}={value!r})`: expected a positive number")


def _numbers(values: Iterable[Any]) -> bool:
    return all(np.ndim(v) == 0 and np.asarray(v).dtype.kind in "fiu" for v in values)
