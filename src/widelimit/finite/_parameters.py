"""The parameters of a finite network, by path, and the share each takes in its tangent kernel."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


class Trained(NamedTuple):
    """The leaves that share in the kernel, their rates, and the way back to all parameters."""

    leaves: dict[str, Array]
    rates: dict[str, float]
    merge: Callable[[Mapping[str, Any]], PyTree]


def by_path(params: PyTree) -> dict[str, Any]:
    """`{path: leaf}`, with paths such as "w1" or "layers/0/kernel"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    named = [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]
    if len(dict(named)) < len(named):
        raise ValueError("two leaves of `params` have the same path; rename one of them")
    return dict(named)


def trained(params: PyTree, rates: Mapping[str, float | int]) -> Trained:
    """Split `params` into the real leaves whose rate is not zero and the rest, which stays fixed."""
    leaves = by_path(params)
    check_rates(rates, leaves)
    kept = {path: leaf for path, leaf in leaves.items() if _trainable(path, leaf) and rates.get(path, 1.0) != 0}
    if not kept:
        raise ValueError("no parameter is trained: `params` has no real array whose rate is not 0")
    structure = jax.tree.structure(params)

    def merge(new: Mapping[str, Any]) -> PyTree:
        return structure.unflatten([new.get(path, leaf) for path, leaf in leaves.items()])

    return Trained(kept, {path: float(rates.get(path, 1.0)) for path in kept}, merge)


def check_rates(rates: Mapping[str, float | int], paths: Mapping[str, Any]) -> None:
    unknown = sorted(set(rates) - set(paths))
    if unknown:
        raise ValueError(f"`rates` names {unknown}, but the parameters are {sorted(paths)}")
    negative = {path: rate for path, rate in rates.items() if not rate >= 0}
    if negative:
        raise ValueError(f"`rates` must be numbers >= 0, got {negative}")


def _trainable(path: str, leaf: Any) -> bool:
    kind = (
        jnp.result_type(leaf) if not jax.dtypes.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.extended) else None
    )
    if kind is not None and jnp.issubdtype(kind, jnp.complexfloating):
        raise TypeError(f"the parameter {path!r} is complex; write it as a real and an imaginary part")
    return kind is not None and hasattr(leaf, "shape") and jnp.issubdtype(kind, jnp.floating)
