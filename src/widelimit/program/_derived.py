"""Values made from others by maps, each made only once: what is equal is then the same object."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.program._known import Apply, Known, Mapped, apply
from widelimit.program._maps import AxisMap, apply_maps, is_identity
from widelimit.program._value import Given, Image, Profile, Value


def map_known(known: Known, maps: tuple[AxisMap, ...], shape: tuple[int, ...]) -> Known:
    """The image of a known array."""
    matrices = [m.matrix for m in maps if m.matrix is not None]

    def fn(a: Any, *values: Any) -> Any:
        at = dict(zip(map(id, matrices), values, strict=True))
        return apply_maps(jnp.asarray(a), maps, lambda matrix: at[id(matrix)])

    made = apply(fn, shape, known, *matrices, name="map")
    return Mapped(shape, fn, made.args, "map", maps) if isinstance(made, Apply) else made


def image(value: Value, maps: tuple[AxisMap, ...], shape: tuple[int, ...]) -> Value:
    if is_identity(maps):
        return value
    if isinstance(value, Given):
        return Given(shape, value.where, map_known(value.known, maps, shape))
    if isinstance(value, Profile) and all(m.matrix is None for m in maps):
        return once(value, ("image", maps), lambda: value.mapped(lambda a: _at_once(a, maps), shape))
    return once(value, ("image", maps), lambda: Image(shape, value.where, value, maps))


def _at_once(a: Any, maps: tuple[AxisMap, ...]) -> np.ndarray:
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        return np.asarray(apply_maps(jnp.asarray(a), maps, lambda _: None))


def once(value: Value | Known, key: Hashable, make: Callable[[], Any]) -> Any:
    """Make a value derived from another only once: what is equal is then the same object."""
    made = vars(value).setdefault("_derived", {})
    if key not in made:
        made[key] = make()
    return made[key]
