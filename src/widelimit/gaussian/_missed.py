"""Where an expectation misses its accuracy, as far as only the laws at hand tell: noted while numbers are computed."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from widelimit.gaussian._pointwise import Pointwise

_KEY = "missed"
_LATER = "measures"


def watch(phi: Pointwise, share: Array, accuracy: float) -> None:
    """Note the largest error, when it is computed, of an expectation of φ, if it is above the accuracy."""
    worst = jnp.max(share)
    lax.cond(worst > accuracy, lambda x: jax.debug.callback(partial(_note, phi), x), lambda x: None, worst)


def _note(phi: Pointwise, share: Any) -> None:
    phi._memo[_KEY] = max(phi._memo.get(_KEY, 0.0), float(share))


def measures(phi: Pointwise) -> dict[Hashable, Callable[[], float]]:
    """What is to be measured after the numbers: each gives an error above what was said of φ, or 0."""
    return phi.remember(_LATER, dict)


def parts(phi: Pointwise) -> list[Pointwise]:
    """The functions that were made of φ, such as derivatives."""
    return [v for v in phi._memo.values() if isinstance(v, Pointwise)]


def forget(phi: Pointwise) -> None:
    """Begin anew with what is to be measured: networks share functions, but not laws."""
    jax.effects_barrier()
    measures(phi).clear()
    for part in parts(phi):
        forget(part)


def missed(phi: Pointwise) -> float:
    """The largest error above the accuracy that was met so far in an expectation of φ or of its derivatives; 0 if none was.

    It is relative to the size of φ, for one Gaussian to that near the origin, and an estimate. For several Gaussians it is
    that since they were last forgotten.
    """
    jax.effects_barrier()
    late = [measure() for measure in list(measures(phi).values())]
    return max([phi._memo.get(_KEY, 0.0), *late, *map(missed, parts(phi))])
