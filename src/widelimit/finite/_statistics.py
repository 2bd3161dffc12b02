"""What draws of finite networks say about a limit.

Of one entry of a kernel, D_n draws at width n have mean m_n with standard error e_n. The mean of a finite network is
not the limit:

    E m_n = L + b/n + c/n² + …,

so the limit is judged where the theory puts it, at 1/n → 0. L and b are fitted by least squares to the means at all
widths, weighted by their errors; c is not fitted but allowed for, as a normal variable of the size that b suggests,
(b/L)² L: with it the error of the extrapolated L̂ is right also where the narrowest networks are far from their limit.
Nothing in the fit knows the limit that it is compared with, so a wrong one cannot hide in it. z = (L̂ - K)/error is
turned from Student's t (few draws) into a standard normal variable.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray


class Moments(NamedTuple):
    """Of the draws of a kernel at one width, entry by entry."""

    draws: int
    mean: Float[ndarray, " entries"]
    error: Float[ndarray, " entries"]


class Extrapolated(NamedTuple):
    """The limit that finite networks point to, entry by entry; `bias` is that of the narrowest."""

    value: Float[ndarray, " entries"]
    error: Float[ndarray, " entries"]
    freedom: Float[ndarray, " entries"]
    bias: Float[ndarray, " entries"]
    bias_error: Float[ndarray, " entries"]


class Estimate(NamedTuple):
    value: float
    error: float

    @property
    def resolved(self) -> bool:
        """Whether the value stands two standard errors above 0."""
        return self.value > 2 * self.error


def moments(draws: Float[ndarray, "draws entries"], rounding: float) -> Moments:
    """Mean and standard error, the latter never below the rounding of the draws themselves."""
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    return Moments(len(draws), draws.mean(axis=0), np.hypot(error, rounding))


def extrapolate(widths: Sequence[int], samples: Sequence[Moments], scale: float) -> Extrapolated:
    """Fit L + b/n twice: the first fit says how large b is, hence what to allow for c/n² in the second."""
    first = _fit(widths, samples, 0.0)
    square = np.mean(first.bias**2 - first.bias_error**2) / scale**2
    return _fit(widths, samples, scale * float(np.clip(square, 0.0, 1.0)))


def _fit(widths: Sequence[int], samples: Sequence[Moments], curvature: float) -> Extrapolated:
    x = min(widths) / np.asarray(widths, float)
    means, errors = (np.stack([getattr(s, name) for s in samples], axis=1) for name in ("mean", "error"))
    noise = errors[:, :, None] ** 2 * np.eye(len(x)) + curvature**2 * np.outer(x**2, x**2)
    design = np.stack([np.ones_like(x), x], axis=1)
    weighted = np.linalg.solve(noise, np.broadcast_to(design, (*errors.shape, 2)))
    covariance = np.linalg.inv(np.einsum("wi,mwj->mij", design, weighted))
    hat = np.einsum("mij,mwj->miw", covariance, weighted)
    value, bias = np.einsum("miw,mw->im", hat, means)
    error, bias_error = np.sqrt(np.einsum("mii->im", covariance))
    return Extrapolated(value, error, _freedom(hat[:, 0] * errors, samples), bias, bias_error)


def _freedom(shares: Float[ndarray, "entries widths"], samples: Sequence[Moments]) -> Float[ndarray, " entries"]:
    """Degrees of freedom of a weighted sum of means (Welch and Satterthwaite)."""
    each = np.array([s.draws - 1 for s in samples])
    return np.sum(shares**2, axis=1) ** 2 / np.sum(shares**4 / each, axis=1)


def normal_score(t: Float[ndarray, " entries"], freedom: Float[ndarray, " entries"]) -> Float[ndarray, " entries"]:
    """The standard normal z with (nearly) the same tail as Student's t (Wallace 1959)."""
    factor = (8 * freedom + 1) / (8 * freedom + 3)
    return np.sign(t) * factor * np.sqrt(freedom * np.log1p(t**2 / freedom))


def threshold(entries: int) -> float:
    """The |z| that the largest of `entries` passes as rarely as a single one passes 3 (Bonferroni)."""
    tail = NormalDist().cdf(-3.0) / entries
    return -NormalDist().inv_cdf(tail)


def spread(draws: Float[ndarray, "draws entries"], scale: float) -> Estimate:
    """Standard deviation of one draw about the mean, root mean square over entries, relative to `scale`."""
    squares = np.mean((draws - draws.mean(axis=0)) ** 2, axis=1) * len(draws) / (len(draws) - 1)
    value = np.sqrt(squares.mean())
    error = squares.std(ddof=1) / np.sqrt(len(draws)) / max(2 * value, np.finfo(float).tiny)
    return Estimate(float(value / scale), float(error / scale))


def bias(
    draws: Float[ndarray, "draws entries"], limit: Float[ndarray, " entries"], scale: float
) -> tuple[float, float]:
    """Mean square over entries of (mean - limit) with the noise taken out, and its standard error, relative to scale²."""
    count, entries = draws.shape
    centred = (draws - draws.mean(axis=0)) / np.sqrt(count * (count - 1.0))
    deviation = draws.mean(axis=0) - limit
    gram = centred @ centred.T if count < entries else centred.T @ centred
    # Var |d|² = 2 tr S² + 4 bᵀS b for d normal about b with covariance S; dᵀS d overestimates bᵀS b by tr S²
    square = np.sum(gram**2)
    variance = max(4 * np.sum((centred @ deviation) ** 2) - 2 * square, 2 * square)
    return float((deviation @ deviation - np.trace(gram)) / entries / scale**2), float(
        np.sqrt(variance) / entries / scale**2
    )


def root(square: float, error: float) -> Estimate:
    """The root of an estimate; one below its own noise stays visible as value 0 with the error's root."""
    if square > 2 * error:
        return Estimate(float(np.sqrt(square)), float(error / (2 * np.sqrt(square))))
    return Estimate(0.0, float(np.sqrt(max(square, 0.0) + 2 * error)))


def exponent(widths: Sequence[int], values: Sequence[Estimate]) -> Estimate | None:
    """a in value ∝ n^a, by least squares in logarithms over the widths where the value stands out of its noise."""
    known = [(n, v) for n, v in zip(widths, values, strict=True) if v.resolved]
    if len(known) < 2:
        return None
    x = np.log([n for n, _ in known])
    weights = np.array([(v.value / v.error) ** 2 for _, v in known])
    centred = x - np.average(x, weights=weights)
    information = np.sum(weights * centred**2)
    slope = np.sum(weights * centred * np.log([v.value for _, v in known])) / information
    return Estimate(float(slope), float(1 / np.sqrt(information)))
