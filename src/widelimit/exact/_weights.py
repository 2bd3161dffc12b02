"""How much each training example weighs in the limit's prediction: two numbers an input."""

from math import inf
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ._arccosine import ORTHOGONAL, Regime, kernel, self_kernel


class Weights(NamedTuple):
    """Weight of a training example e_i whose bit is set in the input, and of one whose bit is not."""

    set: Float[ndarray, "*n"] | np.floating
    unset: Float[ndarray, "*n"] | np.floating

    @property
    def gap(self) -> Float[ndarray, "*n"] | np.floating:
        """β(s): the mean of a set bit less that of an unset one. At t = ∞ it does not depend on k."""
        return self.set - self.unset


def weights(k: int, ones: Int[ndarray, "*n"] | np.integer, *, t: float = inf, regime: Regime = "ntk") -> Weights:
    """w(x, t) = Θ(x, X) Θ(X, X)⁻¹ (1 − exp(−Θ(X, X) t)) for X = I_k and an input of s `ones`.

    k Θ(X, X) = (d − c) 1 + c 11ᵀ has the eigenvalues d − c, and d + (k − 1) c of the vector of ones. k Θ(x, e_i) is u where bit i
    is set and c where not, of average ū = (s u + (k − s) c) / k, so that

        w_i = (k Θ(x, e_i) − ū) / (d − c) · (1 − exp(−(d − c) t / k)) + ū / (d + (k − 1) c) · (1 − exp(−(d + (k − 1) c) t / k)).

    d is 1 ("ntk") or 1/2 ("last"). At t = ∞: w₀ = κ (1 − s β), w₁ = β + w₀, β = (u − c) / (d − c), κ = c / (d + (k − 1) c).
    """
    c, d = ORTHOGONAL, self_kernel(regime)
    slow, fast = d - c, d + (k - 1) * c
    u = kernel(np.ones_like(ones), ones, 1, regime=regime)
    above = (u - c) * (1 - ones / k)  # u − ū, and ū − c below: differences of small numbers are not taken
    below = (u - c) * ones / k
    common = (c + below) / fast * _learnt(fast * t / k)
    share = _learnt(slow * t / k) / slow
    return Weights(above * share + common, common - below * share)


def _learnt(exponent: float) -> Any:
    return -np.expm1(-exponent)
