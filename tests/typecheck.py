"""The type checker of the suite: for all functions of the package but those inside others.

These are made anew at each call, and so would be what checks them: a sixth of the suite's time.
"""

from collections.abc import Callable

from beartype import beartype


def checked(fn: Callable) -> Callable:
    return fn if "<locals>" in fn.__qualname__ else beartype(fn)
