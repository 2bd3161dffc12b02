"""Checks of what the user passes to a kernel."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit.trace import Reading


def check_batch(reading: Reading, x: Any, call: str) -> list[Array]:
    """The leaves of a batch of inputs, each (N, *shape of the example's leaf)."""
    leaves = [_array(a, s, call) for a, s in zip(_leaves(reading, x, call), reading.inputs, strict=True)]
    sizes = set()
    for a, struct in zip(leaves, reading.inputs, strict=True):
        if a.shape[1:] != struct.shape or a.ndim == 0:
            raise ValueError(
                f"`{call}`: got an array of shape {a.shape}; expected (N, {', '.join(map(str, struct.shape))}): a "
                "batch of inputs like the example"
            )
        sizes.add(a.shape[0])
    if len(sizes) > 1:
        raise ValueError(f"`{call}`: the parts of the input have different numbers of examples: {sorted(sizes)}")
    if sizes == {0}:
        raise ValueError(f"`{call}`: the batch is empty; expected at least one input")
    for a in leaves:
        if jnp.issubdtype(a.dtype, jnp.floating) and not _is_finite(a):
            bad = np.unique(np.nonzero(~np.isfinite(np.asarray(a).reshape(a.shape[0], -1)))[0])
            raise ValueError(
                f"`{call}`: the inputs hold NaN or infinite values (examples "
                f"{bad[:5].tolist()}{', …' if len(bad) > 5 else ''}); remove or impute them"
            )
    return leaves


def _is_finite(a: Array) -> bool:
    """On the host NumPy looks: there is nothing to compile for each shape."""
    return bool(np.isfinite(np.asarray(a)).all() if is_on_host(a) else jnp.isfinite(a).all())


def is_on_host(a: Array) -> bool:
    """Whether NumPy can read an array where it is."""
    return a.is_fully_addressable and all(device.platform == "cpu" for device in a.devices())


def same_dtypes(first: list[Array], second: list[Array]) -> tuple[list[Array], list[Array]]:
    """Both sides in the wider of their dtypes, leaf by leaf."""
    dtypes = [jnp.promote_types(a.dtype, b.dtype) for a, b in zip(first, second, strict=True)]
    return tuple([a.astype(d) for a, d in zip(side, dtypes, strict=True)] for side in (first, second))


def check_single(reading: Reading, x: Any) -> list[Array]:
    """The leaves of one input, for `kernel.pair`."""
    call = "kernel.pair(x, xp)"
    leaves = [_array(a, s, call) for a, s in zip(_leaves(reading, x, call), reading.inputs, strict=True)]
    for a, struct in zip(leaves, reading.inputs, strict=True):
        if a.shape != struct.shape:
            raise ValueError(
                f"`{call}`: got an input of shape {a.shape}; expected {struct.shape}, the example's (one input, no batch axis)"
            )
    return leaves


def _leaves(reading: Reading, x: Any, call: str) -> list[Any]:
    leaves, structure = jax.tree_util.tree_flatten(x)
    if structure != reading.structure and not (
        len(leaves) != 1 and len(reading.inputs) == 1 and isinstance(x, list | tuple)
    ):
        raise ValueError(
            f"`{call}`: the input has the structure {structure}; expected the example's, {reading.structure}"
        )
    return leaves if structure == reading.structure else [np.asarray(x)]


def _array(a: Any, struct: jax.ShapeDtypeStruct, call: str) -> Array:
    array = (
        a
        if isinstance(a, jax.Array)
        else jnp.asarray(np.asarray(a))
        if np.asarray(a).dtype.kind in "fiub" or _is_float(a)
        else None
    )
    if array is None:
        raise TypeError(f"`{call}`: got an array of dtype {np.asarray(a).dtype}; expected real numbers")
    wanted_float, is_float = _is_float(struct), _is_float(array)
    if wanted_float and not is_float:
        raise TypeError(
            f"`{call}`: got an array of dtype {array.dtype}; expected floating point like the example "
            f"({struct.dtype}): convert with `x.astype(float)`"
        )
    if is_float and not wanted_float:
        raise TypeError(
            f"`{call}`: got an array of dtype {array.dtype}; expected integers like the example ({struct.dtype})"
        )
    return array


def _is_float(a: Any) -> bool:
    return jnp.issubdtype(a.dtype if hasattr(a, "dtype") else np.asarray(a).dtype, jnp.floating)
