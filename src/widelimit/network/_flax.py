"""Networks written as flax.nnx modules."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from widelimit.network._framework import (
    Build,
    Call,
    FixedPaths,
    check_build,
    check_model,
    imported,
    path_name,
    plain_call,
)
from widelimit.network._network import Laws, Network
from widelimit.network._parameters import Parameters, checked


class _Static(NamedTuple):
    """What puts a module together again: its graph, the structure of its state, and the streams left out of it."""

    graph: Any
    structure: Any
    streams: tuple[_Stream, ...]


class _Stream(NamedTuple):
    """A leaf of a random stream: its place among the leaves, and what stands in for it."""

    place: int
    shape: tuple[int, ...]
    dtype: Any
    impl: Any  # of a key; None of a counter


class _Leaf(NamedTuple):
    path: str
    variable: Any  # the Variable it belongs to, or the array itself
    value: Any


def from_flax(
    build: Build,
    call: Call | None = None,
    *,
    laws: Laws = None,
    frozen: Collection[str] | Callable[[str], bool] = (),
) -> Network:
    """The family of `flax.nnx` modules `build(width, rngs)`: `wl.from_flax(lambda width, rngs: Model(width, rngs=rngs))`.

    A module is applied to one example as `module(x)`; `call(module, x)` says otherwise, such as
    `lambda module, x: module(x[None])[0]` for a module that demands a batch axis. Parameters are the arrays of the
    module's Variables, by path ("layers/0/kernel"); those that are not `nnx.Param` (batch statistics, bare arrays) are not
    trained.
    What a call changes in the module is forgotten after it. Random streams that a module keeps (of dropout) are no
    parameters: they start afresh from a fixed key at every call.

    `laws` and `frozen` are those of `wl.Network`.

    Raises ImportError without flax, TypeError where `build` does not take (width, rngs) or returns no module,
    ValueError where the module has no parameter.
    """
    nnx = imported("flax.nnx", extra="flax")
    check_build("from_flax", build, ("width", "rngs"))
    apply_to = call or plain_call
    fixed = FixedPaths(frozen)

    def init(key: Any, width: int) -> Parameters:
        model = build(width, nnx.Rngs(key))
        check_model(model, nnx.Module, "from_flax")
        graph, state = nnx.split(_with_arrays_as_data(nnx, model))
        leaves = _leaves(nnx, state)
        fixed.found(leaf.path for leaf in leaves if not isinstance(leaf.variable, nnx.Param))
        arrays = {leaf.path: leaf.value for leaf in leaves if not isinstance(leaf.variable, nnx.RngState)}
        return Parameters(arrays, _Static(graph, jax.tree.structure(state), _streams(nnx, leaves)))

    def apply(params: Any, x: Any) -> Any:
        params = checked(params, "net.apply(params, x)")
        return apply_to(nnx.merge(params.static.graph, _state(params)), x)

    fixed.init = init
    return Network(init, apply, laws=laws, frozen=fixed)


def _with_arrays_as_data(nnx: Any, model: Any) -> Any:
    """The model with the bare arrays among its attributes in its state, where nnx puts them unless it is being traced."""
    for _, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Pytree):
            for name, value in list(vars(node).items()):
                if not nnx.is_data(value) and _has_tracer(value):
                    setattr(node, name, nnx.data(value))
    return model


def _has_tracer(value: Any) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def _leaves(nnx: Any, state: Any) -> list[_Leaf]:
    """The state's leaves in its order; a Variable's array has the Variable's path."""
    variables, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda v: isinstance(v, nnx.Variable))
    return [
        _Leaf(path_name((*path, *inner[1:])), variable, value)
        for path, variable in variables
        for inner, value in jax.tree_util.tree_flatten_with_path(variable)[0]
    ]


def _streams(nnx: Any, leaves: list[_Leaf]) -> tuple[_Stream, ...]:
    return tuple(
        _Stream(place, leaf.value.shape, leaf.value.dtype, _impl(leaf.value))
        for place, leaf in enumerate(leaves)
        if isinstance(leaf.variable, nnx.RngState)
    )


def _impl(array: jax.Array) -> Any:
    return jax.random.key_impl(array) if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key) else None


def _state(params: Parameters) -> Any:
    """A new state, so that no call sees what another has changed in it."""
    leaves = list(params.values())
    for stream in params.static.streams:
        leaves.insert(stream.place, _stand_in(stream))
    return params.static.structure.unflatten(leaves)


def _stand_in(stream: _Stream) -> jax.Array:
    with jax.ensure_compile_time_eval():  # a constant: no equation in the trace of a network that draws nothing
        if stream.impl is None:
            return jnp.zeros(stream.shape, stream.dtype)
        key = jax.random.key(0, impl=stream.impl)
        return jax.random.split(key, stream.shape) if stream.shape else key
