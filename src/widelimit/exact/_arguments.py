"""Errors of what a user hands to the functions of this folder."""

from collections.abc import Sequence
from math import isnan
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray


def at_least(call: str, name: str, value: Any, least: int) -> int:
    """`value` as an int; ValueError if it is no whole number or below `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{call}: `{name}` must be a whole number, at least {least}, got {value!r}")
    return int(value)


def choice(call: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """ValueError unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        known = " or ".join(f'"{each}"' for each in choices)
        raise ValueError(f"{call}: `{name}` must be {known}, got {value!r}")


def probability(call: str, delta: Any) -> float:
    """`delta` as a float strictly between 0 and 1."""
    if not 0 < delta < 1:
        raise ValueError(
            f"{call}: `delta` is the probability of failure allowed, strictly between 0 and 1, got {delta!r}; "
            "0.01 asks for success in 99 of 100 ensembles"
        )
    return float(delta)


def time(call: str, t: Any) -> float:
    """A training time: not negative, `inf` for the end of training."""
    if isnan(t) or t < 0:
        raise ValueError(f"{call}: `t` is a training time, 0 or more (`math.inf` is the end), got {t!r}")
    return float(t)


def bits(call: str, name: str, x: Any, length: int) -> Bool[ndarray, "*n bits"]:
    """`x` as booleans of the given length along the last axis."""
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[-1] != length:
        raise ValueError(f"{call}: `{name}` needs {length} bits along its last axis, got shape {x.shape}")
    if not np.isin(x, (0, 1)).all():
        raise ValueError(f"{call}: `{name}` must hold zeros and ones only, got values such as {_others(x)}")
    return x.astype(bool)


def _others(x: ndarray) -> Any:
    return x[~np.isin(x, (0, 1))].ravel()[0].item()


def nonzero(call: str, name: str, x: Any, length: int) -> Bool[ndarray, "*n bits"]:
    """Bits of which every input has at least one: 0 has no direction, and the trained network is 0 there."""
    x = bits(call, name, x, length)
    empty = np.argwhere(~x.any(-1))
    if len(empty):
        where = f"[{', '.join(map(str, empty[0]))}]" if x.ndim > 1 else ""
        raise ValueError(
            f"{call}: `{name}{where}` is all zeros; inputs are divided by the root of their number of ones, so each needs at "
            "least one. Leave it out: its image is all zeros too"
        )
    return x
