"""Whether a kernel on the sphere is a polynomial in x·x'."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from widelimit import gaussian
from widelimit.gaussian import Pointwise
from widelimit.limit import Kernel, nonlinearities


def is_polynomial(kernel: Any) -> bool:
    """Whether every activation (of a `wl.Kernel`) or κ itself (a function of ρ) is recognised as a polynomial.

    Recognition compares values at thousands of points, to rounding; functions of several Gaussians count as not recognised.
    """
    if not isinstance(kernel, Kernel):
        return gaussian.is_polynomial(_pointwise(kernel))
    return all(f.arity == 1 and gaussian.is_polynomial(f) for f in nonlinearities(kernel.reading))


@functools.lru_cache(maxsize=32)
def _pointwise(fn: Callable[[Any], Any]) -> Pointwise:
    return Pointwise(fn, 1, "kernel")  # one object a function, so that what is learnt about it is learnt once
