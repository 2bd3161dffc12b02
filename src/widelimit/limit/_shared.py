"""One object for functions that do the same, so that what the layers of a deep network share is recognised once."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp

from widelimit import gaussian, trace

_KNOWN: weakref.WeakValueDictionary[Any, gaussian.Pointwise] = weakref.WeakValueDictionary()


def shared(phi: gaussian.Pointwise, params: int, *more: Hashable) -> gaussian.Pointwise:
    """A function of `params` known parameters as one that is already known, if their programs are the same.

    `more` is what else must be equal.
    """
    try:
        key = (phi.label, phi.arity, params, more, *(_written(phi, params, wide) for wide in (False, True)))
    except (TypeError, ValueError):
        return phi  # a function that takes no lone numbers
    return _KNOWN.setdefault(key, phi)


def _written(phi: gaussian.Pointwise, params: int, wide: bool) -> Any:
    """The function's program on numbers, in single or double precision."""
    with jax.enable_x64(wide):
        number = jax.ShapeDtypeStruct((), jnp.float64 if wide else jnp.float32)
        return trace.program_key(trace.opened(jax.make_jaxpr(phi.fn)(*[number] * (phi.arity + params))))
