"""Gradient flow of any loss: an ordinary differential equation in function space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.dynamics._minimum import minimum
from widelimit.dynamics._responses import Numbers, Training

_SLOW = 1e-3  # of the first speed: from there Newton's method finds where the flow ends


def integrate(
    training: Training,
    theta: Float[Array, "n n"],
    start: tuple[Float[Array, "s n c"], Float[Array, "s n c"]],
    labels: Array,
    gradient: Callable[[Array, Array], Array],
    *,
    times: Float[np.ndarray, " t"],
) -> tuple[Float[Array, "t s n c"], Float[Array, " t"]]:
    """a and b of f = f₀ + b h + Θ a at all times, da/dt = −∂L/∂f − κ a, from f₀ and h.

    At t = ∞ the flow is followed until it has slowed down a thousandfold, and its end found by Newton's method.
    """
    flow = Flow(training, gradient, (theta, start, labels, training.numbers))
    finite = np.unique(times[np.isfinite(times)])
    seen = flow.until(finite)
    if np.isinf(times).any():
        last = finite[-1] if len(finite) else 0.0
        seen[np.inf] = flow.end(last, seen[last])
    return jnp.stack([seen[t] for t in times.tolist()]), _shrunk(training.numbers, jnp.asarray(times, theta.dtype))


def _shrunk(numbers: Numbers, t: Float[Array, "*t"]) -> Float[Array, "*t"]:
    """b = −q (1 − e^{−κt})."""
    kept = jnp.where(jnp.isinf(t), 0, jnp.exp(-numbers.shrink * jnp.where(jnp.isinf(t), 0, t)))
    return -numbers.lost * (1 - kept)


@dataclasses.dataclass(frozen=True)
class Field:
    """The differential equation; compiled once for every loss."""

    gradient: Callable[[Array, Array], Array]

    def __call__(self, t: Float[Array, ""], a: Float[Array, "s n c"], data: tuple) -> Float[Array, "s n c"]:
        """da/dt."""
        theta, (start, radial), labels, numbers, *_ = data
        return -self.gradient(start + _shrunk(numbers, t) * radial + theta @ a, labels) - numbers.shrink * a


@dataclasses.dataclass(frozen=True)
class Slow:
    """Whether every training point moves at less than a thousandth of the first speed."""

    field: Field

    def __call__(self, t: Any, y: Array, args: tuple, **unused: Any) -> Array:
        """True ends the integration."""
        del unused
        return jnp.abs(args[0] @ self.field(t, y, args)).max() <= _SLOW * args[-1]


class Flow:
    """The differential equation, and how it is solved."""

    def __init__(self, training: Training, gradient: Callable[[Array, Array], Array], data: tuple):
        self.optimizer, self.field, self.data = training.optimizer, Field(gradient), data
        self.diffrax = _diffrax()

    def until(self, times: Float[np.ndarray, " t"]) -> dict[float, Array]:
        """a at finite times in ascending order, by time."""
        zero = jnp.zeros_like(self.data[1][0])
        later = times[times > 0]
        if not len(later):
            return {0.0: zero}
        saved = self._solve(0.0, later[-1], zero, saveat=self.diffrax.SaveAt(ts=jnp.asarray(later, zero.dtype)))
        return {0.0: zero} | dict(zip(later.tolist(), saved.ys, strict=True))

    def end(self, time: float, a: Float[Array, "s n c"]) -> Float[Array, "s n c"]:
        """a where f comes to rest."""
        theta, (start, radial), labels, numbers = self.data
        speed = jnp.abs(theta @ self.field(jnp.zeros((), theta.dtype), jnp.zeros_like(a), self.data)).max()
        event = self.diffrax.Event(Slow(self.field))
        slow = self._solve(time, jnp.inf, a, args=(*self.data, speed), event=event).ys[-1]
        problem = theta, start - numbers.lost * radial, labels, numbers.shrink
        return minimum(self.field.gradient, slow, problem)

    def _solve(self, start: float, end: float, a: Array, **options: Any) -> Any:
        tolerance = self.optimizer.tolerance or (1e-9 if a.dtype == jnp.float64 else 1e-5)
        solution = self.diffrax.diffeqsolve(
            self.diffrax.ODETerm(self.field),
            self.optimizer.solver or self.diffrax.Tsit5(),
            jnp.asarray(start, a.dtype),
            jnp.asarray(end, a.dtype),
            dt0=None,
            y0=a,
            stepsize_controller=self.diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=self.optimizer.max_steps,
            throw=False,
            **({"args": self.data} | options),
        )
        self._check(solution, end)
        return solution

    def _check(self, solution: Any, end: float) -> None:
        results = self.diffrax.RESULTS
        if not bool((solution.result == results.successful) | (solution.result == results.event_occurred)):
            raise ValueError(
                f"`fit(x_test, t={end:g})`: the differential equation was not solved in {self.optimizer.max_steps} steps "
                f"({results[solution.result]}). Long times of a large kernel are stiff: "
                "`wl.GradientFlow(solver=diffrax.Kvaerno5())`, or discrete steps; t = inf needs a loss with a minimum (`ridge=`)"
            )


def _diffrax() -> Any:
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(
            "gradient flow of a loss other than `wl.squared_error` needs diffrax: pip install 'widelimit[dynamics]'"
        ) from error
    return diffrax
