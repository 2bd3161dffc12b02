"""Kernels of the two-layer ReLU network, between inputs of unit length, times the number k of input bits."""

from math import pi
from typing import Any

import numpy as np

Regime = str  # one of
REGIMES = ("ntk", "last")

ORTHOGONAL = 1 / (2 * pi)  # c: kK and kΘ between two different basis vectors


def self_kernel(regime: Regime) -> float:
    """kΘ(x, x): 1 with both layers trained, 1/2 = kK(x, x) with the last one only."""
    return 1.0 if regime == "ntk" else 0.5


def kernel(overlap: Any, ones: Any, others: Any, *, regime: Regime) -> Any:
    """kΘ(x, x') of x = x̂/√s and x' = x̂'/√s', with `ones` s, `others` s' and `overlap` x̂ · x̂', arrays or numbers that broadcast.

        k K(x, x') = (sin θ + (π − θ) cos θ) / 2π,      k Θ(x, x') = k K(x, x') + (π − θ) cos θ / 2π,

    cos θ = x̂ · x̂' / √(s s'). "ntk" is Θ, both layers trained; "last" is K, since Θ = K where only the last layer is
    (Cho and Saul 2009, arc-cosine kernel of degree 1; Jacot et al. 2018).
    """
    product = np.asarray(ones) * np.asarray(others)
    cosine = overlap / np.sqrt(product)
    sine = np.sqrt((product - np.asarray(overlap) ** 2) / product)  # of integers: exactly 0 where x = x'
    part = (pi - np.arctan2(sine, cosine)) * cosine
    return (sine + (1 + (regime == "ntk")) * part) / (2 * pi)
