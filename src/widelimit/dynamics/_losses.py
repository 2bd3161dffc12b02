"""Losses of one example: differentiable functions loss(f, y) of the outputs and the label."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float


def squared_error(f: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
    """½ Σ (f − y)² over the outputs."""
    return 0.5 * jnp.sum((f - y) ** 2)


def cross_entropy(f: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
    """−Σ_c y_c log softmax(f)_c; y is a class (an integer), or the probabilities of all."""
    logs = jax.nn.log_softmax(jnp.asarray(f))
    return -logs[y] if jnp.ndim(y) == 0 else -jnp.sum(y * logs)


@dataclasses.dataclass(frozen=True)
class huber:
    """Σ ½r² where |r| <= δ, δ(|r| − ½δ) beyond; r = f − y."""

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"`wl.huber({self.delta})`: expected delta > 0")

    def __call__(self, f: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
        """The loss of one example."""
        inside = jnp.clip(f - y, -self.delta, self.delta)
        return jnp.sum(inside * (f - y - 0.5 * inside))


@dataclasses.dataclass(frozen=True)
class quantile:
    """The pinball loss Σ max(q r, (q − 1) r) with r = y − f, whose minimiser is the q-quantile.

    Its gradient jumps at r = 0, where gradient flow slides along the jump: no solver of smooth equations follows that. With
    `smooth` = s > 0 the jump is a ramp on |r| <= s (the loss is there (q − ½) r + r²/4s + s/4), which gradient flow needs.

    Args:
        q: 0 < q < 1.
        smooth: s >= 0, in the units of y. Steps of gradient descent take s = 0; at r = 0 the gradient is then that of the ramp.
    """

    q: float
    smooth: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.q < 1:
            raise ValueError(f"`wl.quantile({self.q})`: expected 0 < q < 1")
        if not self.smooth >= 0:
            raise ValueError(f"`wl.quantile(..., smooth={self.smooth})`: expected smooth >= 0")

    def __call__(self, f: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
        """The loss of one example."""
        r = y - f
        ramp = r**2 / (4 * self.smooth) + self.smooth / 4 if self.smooth else jnp.abs(r) / 2
        return jnp.sum((self.q - 0.5) * r + jnp.where(jnp.abs(r) < self.smooth, ramp, jnp.abs(r) / 2))
