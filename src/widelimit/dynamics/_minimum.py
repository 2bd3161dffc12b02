"""Where gradient flow ends: Newton's method from close by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_ITERATIONS = 50


def minimum(
    gradient: Callable[[Array, Array], Array], a: Float[Array, "s n c"], problem: tuple[Array, Array, Array, float]
) -> Float[Array, "s n c"]:
    """a with ∂L/∂f + κ a = 0 at f = f₀ + Θ a, from a first guess; the problem is Θ, f₀, the labels and κ.

    Raises:
        ValueError: Where Newton's method does not converge: the loss has no minimum, or none that is regular.
    """
    found, misses = _newton(gradient, a, problem)
    tolerance = float(jnp.finfo(a.dtype).eps) ** 0.5
    if not bool(misses <= tolerance):
        raise ValueError(
            f"`fit(x_test, t=inf)`: the end of gradient flow was not found (the gradient is {float(misses):.1g} of its size at the start). "
            "The loss needs a minimum that the network attains: pass a `ridge=`, or ask for a finite time"
        )
    return found


@partial(jax.jit, static_argnums=0)
def _newton(
    gradient: Callable[[Array, Array], Array], a: Float[Array, "s n c"], problem: tuple
) -> tuple[Float[Array, "s n c"], Float[Array, ""]]:
    """The end, and the size of the gradient there relative to that at a = 0."""
    theta, start, labels, shrink = problem

    def slope(a: Float[Array, "n c"], start: Float[Array, "n c"]) -> Float[Array, "n c"]:
        return gradient((start + theta @ a)[None], labels)[0] + shrink * a

    def better(a: Float[Array, "n c"], start: Float[Array, "n c"]) -> Float[Array, "n c"]:
        matrix = jax.jacobian(slope)(a, start).reshape(a.size, a.size)
        return a - jnp.linalg.lstsq(matrix, slope(a, start).ravel())[0].reshape(a.shape)

    step, size = jax.vmap(better), jax.vmap(slope)
    a = jax.lax.fori_loop(0, _ITERATIONS, lambda _, a: jnp.where(jnp.isfinite(a), step(a, start), a), a)
    first = jnp.abs(size(jnp.zeros_like(a), start)).max()
    return a, jnp.abs(size(a, start)).max() / jnp.where(first > 0, first, 1)
