"""A network as a family: one function that makes its parameters at any width, one that applies them."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from widelimit.trace import Declared

# Arguments that are checked with a message of their own are not held to their types by a type checker at run time:
Init = Any  # Callable[[Key, int], PyTree]
Apply = Any  # Callable[[PyTree, PyTree], PyTree]
Laws = Any  # Mapping[str, Declared] | None
Width = Any  # int


class Network:
    """A network at every width.

    `init(key, width)` returns the parameters, any pytree of arrays; `apply(params, x)` the output for one example x (any
    pytree of arrays, no batch axis). The width may enter `init` as a Python integer: in shapes and in numbers. It does not
    enter `apply`, which sees it in the shapes of the parameters.

    `laws` states the law of parameters whose `init` cannot be read, by path ("w1", "layers/0/kernel"):
    `laws={"w1": wl.normal(std)}` (also `wl.uniform`, `wl.constant`). `frozen` names parameters that are not trained, as
    paths or as a predicate of the path.

    `net.init(key, width)` and `net.apply(params, x)` are the same functions, checked, for use at finite width; both can
    be jitted (with `width` static), mapped and differentiated.

    Raises TypeError where the functions do not take these arguments, or `laws` holds something else than laws.
    """

    def __init__(
        self,
        init: Init,
        apply: Apply,
        *,
        laws: Laws = None,
        frozen: Collection[str] | Callable[[str], bool] = (),
    ) -> None:
        _check_function("init", init, ("key", "width"))
        _check_function("apply", apply, ("params", "x"))
        self._init, self._apply = init, apply
        self.laws = _checked_laws(laws or {})
        self._is_frozen = predicate(frozen)

    def init(self, key: Any, width: Width) -> PyTree:
        """The parameters at a width, drawn with a key (`jax.random.key`).

        Raises TypeError where `width` is no Python integer, or a leaf of the parameters is not an array; ValueError
        where the width is not positive or there is no parameter.
        """
        params = self._init(key, _checked_width(width))
        _check_leaves(params)
        return params

    def apply(self, params: PyTree, x: PyTree) -> PyTree:
        """The output of the network for one example."""
        return self._apply(params, x)

    def is_trainable(self, path: str) -> bool:
        """Whether the parameter at a path is trained (if it is given a rate)."""
        return not self._is_frozen(path)

    def __repr__(self) -> str:
        return f"Network({_name(self._init)}, {_name(self._apply)})"


def _name(fn: Callable) -> str:
    return getattr(fn, "__qualname__", repr(fn))


def _check_function(name: str, fn: Any, arguments: tuple[str, str]) -> None:
    call = f"`{name}({', '.join(arguments)})`"
    if not callable(fn):
        raise TypeError(f"`wl.Network(init, apply)`: `{name}` must be a function called as {call}, got {fn!r}")
    check_signature(fn, arguments, f"`wl.Network(init, apply)`: `{name}` must be callable as {call}")


def check_signature(fn: Callable, arguments: tuple[str, str], demand: str) -> None:
    """Raise TypeError, quoting the demand, where a function does not take these positional arguments."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return  # a builtin without a signature: its call will tell
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(f"{demand}, got `{_name(fn)}{signature}`") from None


def _checked_laws(laws: Mapping[str, Any]) -> dict[str, Declared]:
    wrong = {path: law for path, law in laws.items() if not isinstance(law, Declared)}
    if wrong:
        raise TypeError(
            f"`laws` is a dict from parameter path to a law such as `wl.normal(std)`, `wl.uniform(low, high)` or "
            f"`wl.constant(value)`, got {wrong}"
        )
    return dict(laws)


def predicate(paths: Collection[str] | Callable[[str], bool]) -> Callable[[str], bool]:
    """Whether a path is among some paths, given as such or as a function."""
    return paths if callable(paths) else frozenset([paths] if isinstance(paths, str) else paths).__contains__


def _checked_width(width: Any) -> int:
    try:
        width = operator.index(width)
    except Exception:
        raise TypeError(
            f"`net.init(key, width)`: the width is a Python integer, got {width!r}; under `jax.jit` make it static "
            "(`static_argnums=1`), as shapes depend on it"
        ) from None
    if width < 1:
        raise ValueError(f"`net.init(key, width)`: the width is at least 1, got {width}")
    return width


def _check_leaves(params: PyTree) -> None:
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    if not leaves:
        raise ValueError(f"`init(key, width)` returned no parameter: there is no array in {params!r}")
    for path, leaf in leaves:
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise TypeError(
                f"`init(key, width)` must return arrays only, but the parameter {name!r} is {leaf!r} ({type(leaf).__name__}); "
                "make it an array with `jnp.asarray`, or use it in `apply` without making it a parameter"
            )
