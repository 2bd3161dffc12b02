"""The parameters of a framework's model: its arrays by path, with what is not an array carried along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax


@jax.tree_util.register_pytree_with_keys_class
class Parameters(Mapping):
    """`params["layers/0/kernel"]`: the arrays of a model by their paths, a pytree of them.

    `static` is the rest of the model, by which it is put together again; it belongs to the pytree's structure, so it
    must be hashable and comparable.
    """

    def __init__(self, leaves: Mapping[str, Any], static: Any) -> None:
        self._leaves = dict(leaves)
        self.static = static

    def __getitem__(self, path: str) -> Any:
        return self._leaves[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    def __repr__(self) -> str:
        return f"Parameters({ {path: _described(leaf) for path, leaf in self.items()} })"

    def tree_flatten_with_keys(self) -> tuple[tuple, tuple]:
        children = tuple((jax.tree_util.DictKey(path), leaf) for path, leaf in self.items())
        return children, (tuple(self), self.static)

    def tree_flatten(self) -> tuple[tuple, tuple]:
        return tuple(self.values()), (tuple(self), self.static)

    @classmethod
    def tree_unflatten(cls, aux: tuple, children: Any) -> Parameters:
        paths, static = aux
        return cls(dict(zip(paths, children, strict=True)), static)


def checked(params: Any, call: str) -> Parameters:
    """The parameters, or an error where they have lost the structure that says how to put the model together."""
    if not isinstance(params, Parameters):
        raise TypeError(
            f"`{call}`: `params` must have the structure that `net.init` returns, a {Parameters.__name__}, got "
            f"{type(params).__name__}; change its arrays with `jax.tree.map`"
        )
    return params


def _described(leaf: Any) -> Any:
    return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else leaf
