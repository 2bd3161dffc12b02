"""A kernel on the sphere as a function of one number: κ(ρ) = K(x, x') with ρ = x·x'."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from widelimit.limit import Kernel

_PROBES = (-0.9, -0.35, 0.2, 0.8, 1.0)
_SAME = 1e-9
_CHUNK = 4096  # one shape, hence one compilation, for all that is asked of a profile


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """κ as a function of the angle θ between two points of the sphere of a radius in R^d, in float64.

    `error` is that of its values relative to the largest, beyond rounding: of activations without a closed form.
    """

    of_angle: Callable[[Any], Any]
    dimension: int
    radius: float
    error: float = 0.0

    def __call__(self, theta: Float[ndarray, " m"]) -> Float[ndarray, " m"]:
        """κ(cos θ): a given angle keeps its digits next to the poles, where cos θ does not."""
        count = theta.size
        pieces = np.append(theta, np.full(-count % _CHUNK, 1.0)).reshape(-1, _CHUNK)
        with jax.enable_x64(True):
            values = [np.asarray(self.of_angle(jnp.asarray(piece)), np.float64) for piece in pieces]
        return np.concatenate(values)[:count]


def profile(kernel: Any, *, kind: str, dimension: int | None, radius: float, call: str) -> Profile:
    """The profile of a `wl.Kernel`, checked to be one, or of a function κ(ρ) with the dimension it is given on."""
    if isinstance(kernel, Kernel):
        return _of_kernel(kernel, kind, radius, call)
    if not callable(kernel):
        raise TypeError(f"`{call}`: expected a `wl.Kernel` or a function of ρ = x·x', got {type(kernel).__name__}")
    if dimension is None or dimension < 2:
        raise ValueError(
            f"`{call}`: a function of ρ needs `dimension=` of at least 2 (S^{{d-1}} in R^d), got {dimension}"
        )
    return Profile(_of_function(kernel), dimension, 1.0)


@functools.lru_cache(maxsize=32)
def _of_function(kappa: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return jax.jit(lambda theta: jnp.broadcast_to(kappa(jnp.cos(theta)), theta.shape))


def _of_kernel(kernel: Kernel, kind: str, radius: float, call: str) -> Profile:
    if kind not in ("nngp", "ntk"):
        raise ValueError(f'`{call}`: got kind={kind!r}; expected "nngp" or "ntk"')
    dimension = _dimension(kernel, call)
    made = vars(kernel).setdefault("_compiled", {})
    if ("profile", kind, radius) not in made:
        rng = np.random.default_rng(0)
        frames = [np.linalg.qr(rng.standard_normal((dimension, 2)))[0].T for _ in range(3)]
        _check_isotropic(kernel, kind, radius, frames, call)
        made["profile", kind, radius] = jax.jit(_along(kernel, kind, radius * frames[0]))
    return Profile(made["profile", kind, radius], dimension, radius, _error(kernel))


def _error(kernel: Kernel) -> float:
    """The largest error that `kernel.explain()` states; one that it does not know counts as the accuracy asked for."""
    errors = [e.error for e in kernel.explain().nonlinearities]
    return max((e if e == e else kernel.accuracy for e in errors), default=0.0)


def _dimension(kernel: Kernel, call: str) -> int:
    inputs, output = kernel.reading.inputs, kernel.reading.output
    if len(inputs) != 1 or len(inputs[0].shape) != 1 or inputs[0].shape[0] < 2 or output.shape:
        shapes = [s.shape for s in inputs]
        raise ValueError(
            f"`{call}`: expected a network of one vector of at least two numbers, whose outputs are independent copies; got inputs of "
            f"shape {shapes} and finite output axes {output.shape}"
        )
    return inputs[0].shape[0]


def _along(kernel: Kernel, kind: str, frame: ndarray) -> Callable[[Any], Any]:
    """θ ↦ K(e₁, cos θ e₁ + sin θ e₂)."""

    def at(theta: Any) -> Any:
        first, second = jnp.asarray(frame, theta.dtype)
        return getattr(kernel.pair(first, jnp.cos(theta) * first + jnp.sin(theta) * second), kind)

    return jax.vmap(at)


def _check_isotropic(kernel: Kernel, kind: str, radius: float, frames: list[ndarray], call: str) -> None:
    """K depends on the angle alone: equal along great circles through random points."""
    theta = np.arccos(np.asarray(_PROBES))
    with jax.enable_x64(True):
        rows = np.stack([np.asarray(_along(kernel, kind, radius * f)(jnp.asarray(theta))) for f in frames])
    spread, scale = np.ptp(rows, axis=0).max(), np.abs(rows).max()
    if not np.all(np.isfinite(rows)) or spread > max(_SAME, 10 * kernel.accuracy) * scale:
        raise ValueError(
            f"`{call}`: on the sphere this kernel is not a function of x·x' alone: it differs by {spread:.2e} (of {scale:.2e}) between "
            "pairs at the same angle. Expected a network that treats all directions alike, such as a dense first layer with "
            "independent weights of one variance"
        )
