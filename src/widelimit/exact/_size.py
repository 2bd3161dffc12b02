"""How many networks an ensemble needs so that its rounded average is exact with probability 1 − δ."""

from collections.abc import Callable
from math import ceil, log
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from . import _arguments
from ._arccosine import REGIMES, Regime
from ._basis import THRESHOLDS, BasisTask, Threshold
from ._covariance import covariance
from ._tail import log_any, log_binomials, log_sum, log_tail
from ._weights import weights

METHODS = ("bound", "exact")
_LARGEST = 2**62


class Demand(NamedTuple):
    """What classes of inputs ask of an ensemble.

    `ratios` are margins over the standard deviation of one network, z² per network, for each class and kind of output; `log_bits`
    the logarithm of how many outputs of a kind there are, −∞ for none; `log_inputs` that of how many inputs a class has.
    """

    ratios: Float[ndarray, "classes kinds"]
    log_bits: Float[ndarray, "classes kinds"]
    log_inputs: Float[ndarray, " classes"]

    def log_failure(self, size: int) -> Float[ndarray, " classes"]:
        """log P(some output of an input is rounded wrongly), for one input of each class.

        Outputs are independent, so this is exact: 1 − Π Φ(√N margin / σ).
        """
        return log_any(log_tail(np.sqrt(size) * self.ratios), self.log_bits)

    def worst(self) -> float:
        """The largest σ²/margin² over all outputs that there are."""
        there = np.where(np.isfinite(self.log_bits), self.ratios, np.inf)
        return float(there.min()) ** -2 if np.isfinite(there).any() else 0.0


def ensemble_size(
    k: int,
    delta: float | int,
    *,
    inputs: str | int = "one",
    method: str = "bound",
    threshold: Threshold = "zero",
    regime: Regime = "ntk",
    antithetic: bool = False,
) -> int:
    """How many networks suffice for a permutation of `k` bits, averaged and rounded, to be exact but with probability `delta`.

    Args:
        k: number of bits, at least 2.
        delta: probability of failure allowed, between 0 and 1.
        inputs: "one": the worst single input, which has two ones for the threshold zero; a number T: that many such inputs at
            once; "all": every input but 0 and the k training ones.
        method: "bound": N ≥ 8 Σ(x)/m(x)² (log(2k/δ) + log T), m the smaller of |w₀| and w₁ ("zero", after arXiv 2502.16763), or
            the gap β = w₁ − w₀ ("midpoint"); the union over "all" inputs is T = 2ᵏ, as in the paper. "exact": the least N at which the
            limit's Gaussian law itself fails with probability at most δ, 1 − Φ(√N w₁/σ)ˢ Φ(√N |w₀|/σ)ᵏ⁻ˢ at one input; several
            inputs are added up, by their number of ones.
        threshold: where averages are rounded. "zero" is the paper's; "midpoint" is half way between the means of a set and an
            unset bit, given the number of ones of the input: O(log k) networks instead of O(k log k) for one input.
        regime: "ntk", both layers trained, or "last", the last one only.
        antithetic: count networks that come in pairs (W₁, W₂) and (W₁, −W₂). A pair's average starts at 0 exactly, and
            training is linear in the limit, so its average is the limit's mean itself, without scatter: one pair is exact
            at every input, with probability 1. At finite width its variance is about 0.2/n, and n has to be large
            against 0.2/margin².

    Returns:
        The number of networks, by the law of the limit. At finite width the mean has a bias that falls as n^(-1/2) where both
        layers train, since ReLU has a kink, and as 1/n where the last one does.

    Raises:
        ValueError: for k < 2, a `delta` outside (0, 1), or a choice there is not.
    """
    call = "`ensemble_size(k, delta)`"
    k, delta = _arguments.at_least(call, "k", k, 2), _arguments.probability(call, delta)
    for name, value, choices in (
        ("method", method, METHODS),
        ("threshold", threshold, THRESHOLDS),
        ("regime", regime, REGIMES),
    ):
        _arguments.choice(call, name, value, choices)
    log_inputs = _log_inputs(call, k, inputs)
    if antithetic:
        return 2
    demand = _demand(k, threshold, regime)
    if method == "bound":
        return bound(demand, threshold, log(2 * k / delta) + log_inputs)
    if inputs == "all":
        return least(lambda size: float(log_sum(demand.log_failure(size) + demand.log_inputs)), delta)
    return least(lambda size: float(demand.log_failure(size).max() + log_inputs), delta)


def bound(demand: Demand, threshold: Threshold, log_events: float) -> int:
    """N ≥ 2 σ²/r² · log(2 · outputs · inputs / δ): an average is r or more off with probability at most 2 exp(−N r²/(2 σ²)).

    r is half the margin for the threshold zero, as in the paper (8 σ²/margin²), and the margin for the midpoint.
    """
    slack = 4 if threshold == "zero" else 1
    return max(1, ceil(2 * slack * demand.worst() * log_events))


def least(log_failure: Callable[[int], float], delta: float) -> int:
    """The smallest N with a probability of failure of at most `delta`, which falls in N."""
    high = 1
    while log_failure(high) > log(delta):
        high *= 2
        if high > _LARGEST:
            raise ValueError("no ensemble is large enough: some output's mean lies on the wrong side of its threshold")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if log_failure(middle) > log(delta) else (low, middle)
    return high


def size_at(
    task: BasisTask,
    x: Any,
    delta: float,
    *,
    method: str = "exact",
    threshold: Threshold = "zero",
    regime: Regime = "ntk",
) -> int:
    """`ensemble_size` for any task, permutation or rules, and the inputs `x` (n, k) that all must come out right.

    For an algorithm these are the matches of the states on its way, `machine.rules.match(machine.states(*numbers))`.
    Raises ValueError where some mean lies on the wrong side of its threshold, so that no size suffices.
    """
    call = "`size_at(task, x, delta)`"
    delta = _arguments.probability(call, delta)
    _arguments.choice(call, "method", method, METHODS)
    x = np.unique(np.atleast_2d(np.asarray(x, bool)), axis=0)
    demand = _demand_at(task, x, threshold, regime)
    if (demand.ratios <= 0).any():
        wrong = int((demand.ratios <= 0).any(-1).sum())
        raise ValueError(
            f"{call}: at {wrong} of {len(x)} inputs the mean of some output lies on the wrong side of the threshold, so no ensemble "
            'suffices; see `rules.check(states)`, and `rules.padded(states)` or the threshold "midpoint"'
        )
    if method == "bound":
        return bound(demand, threshold, log(2 * task.outputs / delta) + log(len(x)))
    return least(lambda size: float(log_sum(demand.log_failure(size))), delta)


def failure_probability(
    k: int, size: int, *, threshold: Threshold = "zero", regime: Regime = "ntk"
) -> Float[ndarray, " k"]:
    """P(the rounded average of `size` networks is wrong in some bit) for one input of s = 1, …, k ones, in the limit.

    At s = 1, a training input, it is 0.
    """
    call = "`failure_probability(k, size)`"
    _arguments.at_least(call, "k", k, 2)
    _arguments.at_least(call, "size", size, 1)
    demand = _demand(k, threshold, regime)
    return np.concatenate([[0.0], np.exp(demand.log_failure(size))])


def _log_inputs(call: str, k: int, inputs: str | int) -> float:
    """log T of the bound; 2ᵏ for all inputs."""
    if inputs == "one":
        return 0.0
    if inputs == "all":
        return k * log(2)
    if isinstance(inputs, str):
        raise ValueError(f'{call}: `inputs` must be "one", "all" or how many inputs there are, got {inputs!r}')
    return log(_arguments.at_least(call, "inputs", inputs, 1))


def _demand_at(task: BasisTask, x: ndarray, threshold: Threshold, regime: Regime) -> Demand:
    """Each input a class of its own, and each of its outputs a kind."""
    sign = 2 * task.truth(x) - 1
    margins = sign * (task.mean(x, regime=regime) - task.threshold(x, threshold, regime=regime))
    with np.errstate(divide="ignore"):
        ratios = margins / np.sqrt(task.variance(x, regime=regime))[:, None]
    return Demand(ratios, np.zeros_like(ratios), np.zeros(len(x)))


def _demand(k: int, threshold: Threshold, regime: Regime) -> Demand:
    """The classes of a permutation: s = 2, …, k ones, with s set and k − s unset outputs."""
    ones = np.arange(2, k + 1)
    w = weights(k, ones, regime=regime)
    sd = np.sqrt(covariance(k, (w, w), ones, ones, ones))
    margins = (w.set, -w.unset) if threshold == "zero" else (w.gap / 2, w.gap / 2)
    with np.errstate(divide="ignore"):
        bits = np.log(np.stack([ones, k - ones], -1))
    return Demand(np.stack(margins, -1) / sd[:, None], bits, log_binomials(k, ones))
