"""The widths that are being traced, known to every rule while a network is read."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator, Sequence

from widelimit.trace._abstract import Axis, Refusal
from widelimit.trace._scale import Scale, fit

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


def fan_in(copies: Sequence[Axis]) -> Scale:
    """How many copies are summed: r·n to leading order."""
    total = [math.prod(a.sizes[i] for a in copies) for i in range(len(traced_widths()))]
    try:
        return fit(total, traced_widths())
    except ValueError as error:
        raise Refusal(
            f"an axis that is summed over has the sizes {total} at the widths {traced_widths()}: no multiple of the width plus a number. "
            "Choose widths at which the network's sizes divide: `wl.limit(..., widths=(...))`."
        ) from error
