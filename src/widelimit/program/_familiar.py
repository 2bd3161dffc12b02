"""Activations by their names: a coordinatewise function is known by its values, not by how it is spelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_POINTS = np.array([-3.7, -2.3, -1.1, -0.4, 0.3, 0.9, 1.6, 2.8, 6.4], np.float32)
_TOLERANCE = 3e-5  # of float32 numbers that were rounded a few times

_NAMED: dict[str, Callable[[Any], Any]] = {
    "relu": jax.nn.relu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "gelu_tanh": lambda z: jax.nn.gelu(z, approximate=True),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "leaky_relu": jax.nn.leaky_relu,
    "relu6": jax.nn.relu6,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_silu": jax.nn.hard_silu,
    "log_sigmoid": jax.nn.log_sigmoid,
    "mish": jax.nn.mish,
    "soft_sign": jax.nn.soft_sign,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}


def familiar(fn: Callable[[Any], Any]) -> str | None:
    """The name of a function of one number, where it has a common one."""
    with jax.ensure_compile_time_eval():
        values = np.broadcast_to(np.asarray(fn(jnp.asarray(_POINTS)), np.float64), _POINTS.shape)
    return next((name for name, expected in _table().items() if _near(values, expected)), None)


def _near(values: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.all(np.abs(values - expected) <= _TOLERANCE * (1 + np.abs(expected))))


def _table() -> dict[str, np.ndarray]:
    if not _VALUES:
        with jax.ensure_compile_time_eval():
            _VALUES.update((n, np.asarray(f(jnp.asarray(_POINTS)), np.float64)) for n, f in _NAMED.items())
    return _VALUES


_VALUES: dict[str, np.ndarray] = {}
