"""How the modes of a constant kernel answer to the labels and to the initial function.

With the squared loss, f_t(x) = f₀(x) + b_t h(x) + Θ(x, X) [R^y_t(Θ) (y − f₀(X)) − R^h_t(Θ) h(X)], h = J θ₀: R^y and R^h are
functions of the eigenvalues, the responses, and b_t is a number. Where h = k f₀, it is R^f = R^y + k R^h that answers to f₀.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.dynamics._optimizers import GradientFlow, Optimizer

Response = Literal["target", "radial", "start"]  # R^y, R^h, R^f


class Numbers(NamedTuple):
    """What of a training is a number: nothing is compiled anew where only these change.

    η, β and `ahead` (1 for Nesterov) of the optimizer; κ, μ and q of `Training`.
    """

    lr: float | Array
    beta: float | Array
    ahead: float | Array
    shrink: float | Array
    decay: float | Array
    lost: float | Array


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """The optimizer, and what pulls on the weights: ρ toward their initial values, μ toward zero.

    `degree` k says J θ₀ = k f₀; None says nothing.
    """

    optimizer: Optimizer
    ridge: float = 0.0
    decay: float = 0.0
    degree: float | None = None

    @property
    def shrink(self) -> float:
        """κ = ρ + μ."""
        return self.ridge + self.decay

    @property
    def lost(self) -> float:
        """q = μ/κ: the share of θ₀ that decay removes in the end, away from the data."""
        return self.decay / self.shrink if self.decay else 0.0

    @property
    def is_flow(self) -> bool:
        """Whether time is continuous."""
        return isinstance(self.optimizer, GradientFlow)

    @property
    def pace(self) -> float:
        """The time of gradient flow that a unit of t goes."""
        lr, beta, _ = self._rates
        return lr / (1 - beta)

    @property
    def numbers(self) -> Numbers:
        """All numbers."""
        return Numbers(*self._rates, self.shrink, self.decay, self.lost)

    @property
    def _rates(self) -> tuple[float, float, float]:
        return (1.0, 0.0, 0.0) if self.is_flow else self.optimizer.rates


class Responses(NamedTuple):
    """R^y and R^h at times t and eigenvalues λ, and b at times t."""

    target: Float[Array, "t n"]
    radial: Float[Array, "t n"]
    shrunk: Float[Array, " t"]

    def to(self, response: Response, degree: float | None) -> Float[Array, "*columns t n"]:
        """R^y, R^h, or R^f = R^y + k R^h."""
        return self.target + (degree or 0.0) * self.radial if response == "start" else getattr(self, response)


def responses(training: Training, eigenvalues: Float[Array, " n"], times: Float[Array, " t"]) -> Responses:
    """The responses of modes with eigenvalues λ >= 0 at times t, which may be infinite.

    At t = ∞ they are those of the minimum: R^y = 1/(λ + κ), R^h = b/(λ + κ), b = −q.
    """
    return _responses(training.is_flow, training.numbers, eigenvalues, times)


@partial(jax.jit, static_argnums=0)
def _responses(
    is_flow: bool, numbers: Numbers, eigenvalues: Float[Array, " n"], times: Float[Array, " t"]
) -> Responses:
    course = _flow if is_flow else _steps
    return Responses(*jax.lax.map(lambda t: course(numbers, eigenvalues, t), times))


def _flow(numbers: Numbers, eigenvalues: Float[Array, " n"], t: Float[Array, ""]) -> Responses:
    """Gradient flow, with E(λ) = (1 − e^{−λt})/λ.

    R^y = E(λ + κ), R^h = q (e^{−κt} E(λ) − E(λ + κ)), b = −q (1 − e^{−κt}).
    """
    finite = jnp.where(jnp.isinf(t), 0, t)
    kept = jnp.where(jnp.isinf(t), 0, jnp.exp(-numbers.shrink * finite))
    target = _expm1_ratio(eigenvalues + numbers.shrink, t)
    radial = numbers.lost * (kept * _expm1_ratio(eigenvalues, finite) - target)
    return Responses(target, radial, -numbers.lost * (1 - kept))


def _expm1_ratio(rate: Float[Array, " n"], t: Float[Array, ""]) -> Float[Array, " n"]:
    """(1 − e^{−λt})/λ: t at λ = 0, 1/λ at t = ∞; of full relative accuracy everywhere."""
    safe = jnp.where(rate > 0, rate, 1)
    return jnp.where(rate > 0, -jnp.expm1(-safe * t) / safe, t)


def _steps(numbers: Numbers, eigenvalues: Float[Array, " n"], t: Float[Array, ""]) -> Responses:
    """Discrete steps: the t-th power of the matrix of one step, mode by mode."""
    ended = jnp.isinf(t)
    count = jnp.where(ended, 0, t).astype(int)
    state = jax.vmap(lambda eigenvalue: _power(_matrix(numbers, eigenvalue), count)[:, -1])(eigenvalues)
    shrunk = jnp.where(ended, -numbers.lost, state[0, 4])
    end = 1 / (eigenvalues + numbers.shrink)
    target = jnp.where(ended, end, state[:, 0])
    return Responses(target, jnp.where(ended, shrunk * end, -state[:, 2]), shrunk)


def move(numbers: Numbers, velocity: Array, gradient: Array) -> tuple[Array, Array]:
    """The step −η v, or −η (g + β v) where it looks ahead, and the velocity v ← β v + g."""
    velocity = numbers.beta * velocity + gradient
    return -numbers.lr * (velocity + numbers.ahead * (gradient + (numbers.beta - 1) * velocity)), velocity


def _matrix(numbers: Numbers, eigenvalue: Float[Array, ""]) -> Float[Array, "7 7"]:
    """One step as a linear map of (a_y, v_y, a_h, v_h, b, v_b, 1).

    a_y answers to y = 1 and a_h to h = 1, b is the coefficient of θ₀ in θ − θ₀, and v are their velocities.
    """

    def step(state: Float[Array, " 7"]) -> Float[Array, " 7"]:
        a_y, v_y, a_h, v_h, b, v_b, one = state
        d_y, v_y = move(numbers, v_y, (eigenvalue + numbers.shrink) * a_y - one)
        d_h, v_h = move(numbers, v_h, (eigenvalue + numbers.shrink) * a_h + b)
        d_b, v_b = move(numbers, v_b, numbers.shrink * b + numbers.decay * one)
        return jnp.stack([a_y + d_y, v_y, a_h + d_h, v_h, b + d_b, v_b, one])

    return jax.jacobian(step)(jnp.zeros(7, eigenvalue.dtype))


def _power(matrix: Float[Array, "7 7"], count: Array) -> Float[Array, "7 7"]:
    """The count-th power, by squaring."""

    def square(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, base, done = state
        return count // 2, base @ base, jnp.where(count % 2, done @ base, done)

    start = (count, matrix, jnp.eye(7, dtype=matrix.dtype))
    return jax.lax.while_loop(lambda state: state[0] > 0, square, start)[2]
