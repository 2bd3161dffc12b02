"""The widths that are being traced, known to every rule while a network is read."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

_TRACED: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("traced widths")


def traced_widths() -> tuple[int, ...]:
    return _TRACED.get()


@contextlib.contextmanager
def tracing(widths: tuple[int, ...]) -> Iterator[None]:
    """Read a network at these widths (in this thread or task alone)."""
    token = _TRACED.set(widths)
    try:
        yield
    finally:
        _TRACED.reset(token)
