"""Discrete steps in function space, for any loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.dynamics._optimizers import SGD
from widelimit.dynamics._responses import Numbers, Training, move

Gradient = Callable[[Array, Array], Array]  # ∂L/∂f of rows f (…, rows, C) with labels (rows, …)


class State(NamedTuple):
    """f = f₀ + b h + Θ a, and the velocities of a and b."""

    a: Float[Array, "*s n c"]
    velocity: Float[Array, "*s n c"]
    b: Float[Array, ""]
    velocity_b: Float[Array, ""]


def descend(
    training: Training,
    theta: Float[Array, "n n"],
    start: tuple[Float[Array, "*s n c"], Float[Array, "*s n c"]],
    labels: Array,
    gradient: Gradient,
    *,
    times: Float[np.ndarray, " t"],
    size: int = 1,
) -> tuple[Float[Array, "t *s n c"], Float[Array, " t"]]:
    """The coefficients a and b after the given numbers of steps, from f₀ and h; `size` rows of Θ are one example."""
    batches = _rows(training, size)
    state = State(*jnp.zeros((2, *start[0].shape), start[0].dtype), *jnp.zeros((2,), start[0].dtype))
    seen, now = {}, 0
    for then in sorted(set(times.astype(int).tolist())):
        state = _advance(gradient, training.numbers, state, (now, then), (theta, start, labels, batches))
        seen[then], now = state, then
    chosen = [seen[t] for t in times.astype(int).tolist()]
    return jnp.stack([s.a for s in chosen]), jnp.stack([s.b for s in chosen])


def _rows(training: Training, size: int) -> Array | None:
    """The rows of every minibatch; None means all."""
    if not isinstance(training.optimizer, SGD):
        return None
    batches = training.optimizer.batches
    return jnp.asarray((batches[:, :, None] * size + np.arange(size)).reshape(len(batches), -1))


@partial(jax.jit, static_argnums=0)
def _advance(gradient: Gradient, numbers: Numbers, state: State, span: tuple, data: tuple) -> State:
    return jax.lax.fori_loop(*span, lambda s, state: _step(gradient, numbers, state, s, data), state)


def _step(gradient: Gradient, numbers: Numbers, state: State, step: Array, data: tuple) -> State:
    theta, (start, radial), labels, batches = data
    rows = slice(None) if batches is None else batches[step]
    f = start[..., rows, :] + state.b * radial[..., rows, :] + theta[rows] @ state.a
    pull = (numbers.shrink * state.a).at[..., rows, :].add(gradient(f, labels[rows]))
    change, velocity = move(numbers, state.velocity, pull)
    change_b, velocity_b = move(numbers, state.velocity_b, numbers.shrink * state.b + numbers.decay)
    return State(state.a + change, velocity, state.b + change_b, velocity_b)
