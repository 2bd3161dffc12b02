"""Times at which the training is looked at."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from widelimit.dynamics._optimizers import SGD, GradientFlow, Optimizer


def times(t: Any, optimizer: Optimizer) -> tuple[Float[np.ndarray, " t"], bool]:
    """Times as a vector, and whether `t` was one: times of gradient flow, or numbers of steps; ∞ is the end."""
    array = np.asarray(t)
    if array.dtype.kind not in "fiu" or array.ndim > 1 or not array.size:
        raise ValueError(
            f"`fit(x, t)`: got t of shape {array.shape} and dtype {array.dtype}; expected a time or a vector of times"
        )
    array = np.atleast_1d(array.astype(float))
    if not (array >= 0).all():
        raise ValueError(f"`fit(x, t={_shown(t)})`: expected t >= 0")
    if not isinstance(optimizer, GradientFlow):
        array = _whole(array, t, optimizer)
    return array, np.ndim(t) == 1


def _whole(array: Float[np.ndarray, " t"], t: Any, optimizer: Optimizer) -> Float[np.ndarray, " t"]:
    name = type(optimizer).__name__
    if not (np.isinf(array) | (array == np.round(array))).all():
        raise ValueError(f"`fit(x, t={_shown(t)})`: `wl.{name}` counts steps; expected whole numbers")
    most = min(2**53, jnp.iinfo(int).max)
    if array[np.isfinite(array)].max(initial=0) > most:
        raise ValueError(f"`fit(x, t={_shown(t)})`: expected at most {most} steps, or t = inf")
    if not isinstance(optimizer, SGD):
        return array
    steps = len(optimizer.batches)
    array = np.where(np.isinf(array), steps, array)
    if array.max() > steps:
        raise ValueError(f"`fit(x, t={_shown(t)})`: `wl.SGD(lr, batches)` has {steps} batches; expected t <= {steps}")
    return array


def _shown(t: Any) -> str:
    return str(t) if np.ndim(t) == 0 else f"array from {np.min(t)} to {np.max(t)}"
