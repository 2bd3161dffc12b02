"""Probabilities too small, and counts too large, for floating point: by their logarithms, in double precision."""

from math import erfc, lgamma, log, pi
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_FAR = 20.0  # standard deviations beyond which four terms of the asymptotic series are exact in double precision


def log_tail(z: Float[ndarray, "*n"]) -> Float[ndarray, "*n"] | np.floating:
    """log Φ(−z) for any z."""
    near = np.minimum(z, _FAR)
    far = np.maximum(z, _FAR)
    with np.errstate(over="ignore"):
        series = -(far**2) / 2 - np.log(far * np.sqrt(2 * pi)) + np.log1p(_mills(far**-2))
    return np.where(z > _FAR, series, np.log(_erfc(near / np.sqrt(2)) / 2))


def _mills(q: Any) -> Any:
    return -q * (1 - 3 * q * (1 - 5 * q * (1 - 7 * q)))


_erfc = np.vectorize(erfc, otypes=[float])


def log_binomials(k: int, s: Float[ndarray, " n"] | ndarray) -> Float[ndarray, " n"]:
    """log C(k, s)."""
    log_factorial = np.array([lgamma(i + 1) for i in range(k + 1)])
    return log_factorial[k] - log_factorial[s] - log_factorial[k - s]


def log_sum(values: Float[ndarray, "*n m"]) -> Float[ndarray, "*n"] | np.floating:
    """log Σ exp over the last axis; −∞ stands for 0."""
    top = np.max(values, axis=-1, initial=-np.inf)
    base = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return base + np.log(np.exp(values - base[..., None]).sum(-1))


def log_any(log_q: Float[ndarray, "*n m"], log_many: Float[ndarray, "*n m"]) -> Float[ndarray, "*n"]:
    """log P(at least one of independent events), exp(`log_many`) of which have the probability exp(`log_q`) each.

    1 − Π (1 − q)^many = 1 − exp(−Σ many · (−log(1 − q))), all three steps without loss where q is tiny.
    """
    with np.errstate(divide="ignore"):
        rate = np.where(log_q < log(1e-17), log_q, np.log(-np.log1p(-np.exp(np.minimum(log_q, -1e-300)))))
        total = log_sum(rate + log_many)
        return np.where(total < log(1e-17), total, np.log(-np.expm1(-np.exp(np.minimum(total, 700.0)))))
