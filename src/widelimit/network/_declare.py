"""Laws of parameters stated by the user, for what cannot be read from `init`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from widelimit.trace import Declared

OfWidth = Any  # int | float | Callable[[int], float]: a number, or a function of the width


def normal(std: OfWidth, *, mean: OfWidth = 0.0) -> Declared:
    """Entries are independent N(mean, std²): `laws={"w": wl.normal(lambda width: 1 / math.sqrt(width))}`."""
    return Declared("normal", _of_width("mean", mean), _of_width("std", std))


def uniform(low: OfWidth, high: OfWidth) -> Declared:
    """Entries are independent and uniform between low and high: mean (low + high)/2, variance (high - low)²/12."""
    a, b = _of_width("low", low), _of_width("high", high)
    return Declared("uniform", lambda n: (a(n) + b(n)) / 2, lambda n: (b(n) - a(n)) / math.sqrt(12))


def constant(value: OfWidth) -> Declared:
    """All entries are one number."""
    return Declared("constant", _of_width("value", value), lambda _: 0.0)


def _of_width(name: str, value: OfWidth) -> Callable[[int], float]:
    if callable(value):
        return value
    try:
        number = float(operator.pos(value))
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` is a number or a function of the width, got {value!r}") from None
    return lambda _: number
