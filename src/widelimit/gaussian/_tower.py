"""Derivatives of all orders of an elementwise function of several Gaussians, as stacked arrays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from widelimit.gaussian._pointwise import Pointwise


def tower(phi: Pointwise, order: int) -> Callable[[Array, tuple], Array]:
    """Dᵏφ: from the Gaussians u (p, ...) and known parameters to (p, …, p, ...), the newest index first.

    The gradient takes one reverse pass, whatever the number of Gaussians; each further order p forward passes.
    """
    if order == 0:
        return lambda u, params: _value(phi, u, params)
    if order == 1:
        return lambda u, params: _gradient(phi, u, params)
    below = tower(phi, order - 1)
    return lambda u, params: _slopes(lambda v: below(v, params), u)


def _value(phi: Pointwise, u: Array, params: tuple) -> Array:
    out = jnp.asarray(phi.fn(*u, *params))
    shape = jnp.broadcast_shapes(u.shape[1:], *(jnp.shape(a) for a in params))
    return jnp.broadcast_to(out, shape).astype(u.dtype)


def _gradient(phi: Pointwise, u: Array, params: tuple) -> Array:
    shape = jnp.broadcast_shapes(u.shape[1:], *(jnp.shape(a) for a in params))
    u = jnp.broadcast_to(u, (len(u), *shape))
    try:
        out, pull = jax.vjp(lambda v: _value(phi, v, params), u)
        return pull(jnp.ones_like(out))[0]
    except ValueError as error:  # a loop without a bound known beforehand has no reverse pass
        if "Reverse-mode" not in str(error):
            raise
    return _slopes(lambda v: _value(phi, v, params), u)


def _slopes(fn: Callable[[Array], Array], u: Array) -> Array:
    rows = jnp.eye(len(u), dtype=u.dtype).reshape(len(u), len(u), *[1] * (u.ndim - 1))
    return jnp.stack([jax.jvp(fn, (u,), (jnp.broadcast_to(row, u.shape),))[1] for row in rows])
