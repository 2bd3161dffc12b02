"""What the adapters of the frameworks share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import jax

from widelimit.network._network import check_signature, predicate

Build = Any  # Callable[[int, Any], Module]: checked with a message of its own
Call = Callable[[Any, Any], Any]
_ANY_WIDTH = 64  # which paths a model has does not depend on it


def imported(module: str, *, extra: str) -> Any:
    """The framework, or an error that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"`wl.from_{extra}` needs {extra}: `pip install widelimit[{extra}]`") from error


def check_build(name: str, build: Any, arguments: tuple[str, str]) -> None:
    example = f"`wl.{name}(lambda width, {arguments[1]}: Model(width, {arguments[1]}={arguments[1]}))`"
    if not callable(build):
        raise TypeError(f"`wl.{name}` takes a function that builds the model at a width, {example}, got {build!r}")
    check_signature(build, arguments, f"`wl.{name}(build)`: `build` must be like {example}")


def check_model(model: Any, kind: type, name: str) -> None:
    if not isinstance(model, kind):
        library = kind.__module__.partition(".")[0]
        raise TypeError(
            f"`wl.{name}(build)`: `build` must return a Module of {library} that is called as `model(x)`, got "
            f"{type(model).__name__}"
        )


def plain_call(model: Any, x: Any) -> Any:
    """How a model is applied to one example, unless the user says otherwise."""
    return model(x)


def path_name(path: Sequence[Any]) -> str:
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


class FixedPaths:
    """The paths that are not trained: those the user froze, and those the framework says are not parameters.

    The latter are seen when the model is built; if none has been yet, one is built of shapes alone.
    """

    def __init__(self, frozen: Collection[str] | Callable[[str], bool]) -> None:
        self._frozen = predicate(frozen)
        self._found: set[str] | None = None
        self.init: Callable[..., Any] = lambda *_: None

    def found(self, paths: Iterable[str]) -> None:
        self._found = set(paths)

    def __call__(self, path: str) -> bool:
        if self._found is None:
            jax.eval_shape(lambda key: self.init(key, _ANY_WIDTH), jax.random.key(0))
        return self._frozen(path) or path in (self._found or ())
