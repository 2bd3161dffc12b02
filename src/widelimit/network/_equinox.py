"""Networks written as equinox modules."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

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


class _Static:
    """What puts a module together again: its structure, and its leaves that are not arrays (None where one is)."""

    def __init__(self, structure: Any, others: tuple) -> None:
        self.structure, self.others = structure, others

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.structure == other.structure and self.others == other.others

    def __hash__(self) -> int:
        return hash((self.structure, tuple(type(leaf) for leaf in self.others)))  # leaves need not be hashable


def from_equinox(
    build: Build,
    call: Call | None = None,
    *,
    laws: Laws = None,
    frozen: Collection[str] | Callable[[str], bool] = (),
) -> Network:
    """The family of equinox modules `build(width, key)`: `wl.from_equinox(lambda width, key: Model(width, key=key))`.

    A module is applied to one example as `module(x)`; `call(module, x)` says otherwise. Parameters are the module's
    arrays, by path ("layers/0/weight"); whole numbers and booleans among them are not trained. `laws` and `frozen` are
    those of `wl.Network`.

    Raises ImportError without equinox, TypeError where `build` does not take (width, key) or returns no module,
    ValueError where the module has no array.
    """
    eqx = imported("equinox", extra="equinox")
    check_build("from_equinox", build, ("width", "key"))
    apply_to = call or plain_call
    fixed = FixedPaths(frozen)

    def init(key: Any, width: int) -> Parameters:
        model = build(width, key)
        check_model(model, eqx.Module, "from_equinox")
        leaves, structure = jax.tree_util.tree_flatten_with_path(model)
        arrays = {path_name(path): leaf for path, leaf in leaves if _is_array(leaf)}
        fixed.found(path for path, leaf in arrays.items() if not jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact))
        return Parameters(arrays, _Static(structure, tuple(None if _is_array(leaf) else leaf for _, leaf in leaves)))

    def apply(params: Any, x: Any) -> Any:
        return apply_to(_module(checked(params, "net.apply(params, x)")), x)

    fixed.init = init
    return Network(init, apply, laws=laws, frozen=fixed)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _module(params: Parameters) -> Any:
    arrays = iter(params.values())
    return params.static.structure.unflatten(next(arrays) if leaf is None else leaf for leaf in params.static.others)
