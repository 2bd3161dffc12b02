"""Slow rules left out of a program that is compiled: it says, when it is run, whether they would have been needed."""

from contextlib import AbstractContextManager

import jax
from jax import Array, lax


class Deferred:
    """Whether a program that was traced under `deferring` has met entries that its rules do not resolve."""

    def __init__(self) -> None:
        self.met = False

    def note(self) -> None:
        self.met = True


# JAX's caches tell programs with the slow rules from those without by it.
_current = jax.make_user_context(default_value=None)


def deferring(deferred: Deferred | None) -> AbstractContextManager:
    """Trace programs without the slow rules; with them for `None`."""
    return _current(deferred)


def deferred() -> Deferred | None:
    """What the program being traced is to tell of the entries that need a slow rule; `None` if it holds the rules itself."""
    return _current.value


def tell(deferred: Deferred, needed: Array) -> None:
    """Have the program tell, when it is run, where a slow rule is needed."""
    lax.cond(needed, lambda: jax.debug.callback(deferred.note), lambda: None)
