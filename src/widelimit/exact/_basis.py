"""What a wide two-layer network learns from the k basis vectors alone."""

from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped
from numpy import ndarray

from widelimit.limit import limit

from . import _arguments
from ._arccosine import REGIMES, Regime
from ._covariance import covariance
from ._network import network
from ._weights import Weights, weights

Threshold = str  # one of
THRESHOLDS = ("zero", "midpoint")
Bits = Shaped[Array | ndarray, "*n bits"]


class BasisTask:
    """Training set: the k basis vectors with 0/1 `labels` (k, outputs). Test inputs: any of the 2ᵏ − 1 other than 0.

    The network is f(x) = n^(-1/2) W₂ relu(k^(-1/2) W₁ x), without biases; an input x̂ of s ones is given to it as x̂/√s. Trained
    by gradient flow on ½ Σ |f − y|², its infinite-width limit is a Gaussian process with the mean Σ_i w_i(x) y_i
    and, at each output independently, one covariance. `regime` says which layers train: both ("ntk"), or the last
    one only ("last"), which is also what the usual (standard) parametrisation tends to with one learning rate for all.

    The truth of an output is the OR of the labels whose bits are set. Results are NumPy arrays in double
    precision, whatever JAX computes in: they take O(k) operations, and their signs decide.
    """

    k: int
    labels: Int[ndarray, "k outputs"]

    @property
    def outputs(self) -> int:
        """The number of output bits."""
        return self.labels.shape[1]

    @cached_property
    def counts(self) -> Int[ndarray, " outputs"]:
        """n_j: in how many labels each output is 1."""
        return self.labels.sum(0)

    def truth(self, x: Bits) -> Bool[ndarray, "*n outputs"]:
        """What exact learning gives: output j is 1 where some set bit has a label with a 1 in column j."""
        return self._hits(self._inputs("truth", x)) > 0

    def mean(self, x: Bits, *, t: float | int = inf, regime: Regime = "ntk") -> Float[ndarray, "*n outputs"]:
        """μ_j(x) = a_j w₁ + (n_j − a_j) w₀, a_j the number of set bits whose label has a 1 in column j.

        `t` is the time of gradient flow in the limit's units; `math.inf` is the end of training.
        """
        x = self._inputs("mean", x)
        w = self._weights("mean", x, t, regime)
        return self._hits(x) * w.gap[..., None] + self.counts * w.unset[..., None]

    def variance(self, x: Bits, *, t: float | int = inf, regime: Regime = "ntk") -> Float[ndarray, "*n"] | np.floating:
        """Σ(x, x), of each output of one network at `x`. At the end of training it is 0 where s = 1."""
        x = self._inputs("variance", x)
        w = self._weights("variance", x, t, regime)
        return np.maximum(covariance(self.k, (w, w), x.sum(-1), x.sum(-1), x.sum(-1)), 0.0)  # of rounding below 0

    def covariance(
        self,
        x1: Shaped[Array | ndarray, "n1 bits"],
        x2: Shaped[Array | ndarray, "n2 bits"] | None = None,
        *,
        t: float | int = inf,
        regime: Regime = "ntk",
    ) -> Float[ndarray, "n1 n2"]:
        """Σ(x, x') = K(x, x') + wᵀ K(X, X) w' − wᵀ K(X, x') − K(x, X) w', the same at every output.

        `x1` is (n1, k) and `x2` (n2, k), or nothing for `x1` itself. K is the NNGP kernel in both regimes: it is what
        the network starts from. In closed form from s, s' and the overlap of the two inputs.
        """
        x1 = self._inputs("covariance", x1)
        x2 = x1 if x2 is None else self._inputs("covariance", x2)
        w1, w2 = (self._weights("covariance", x, t, regime) for x in (x1, x2))
        left = Weights(*(part[:, None] for part in w1))
        overlap = x1.astype(float) @ x2.T.astype(float)  # exact, and a fast product
        return covariance(self.k, (left, w2), overlap, x1.sum(-1)[:, None], x2.sum(-1)[None, :])

    def threshold(self, x: Bits, kind: Threshold = "zero", *, regime: Regime = "ntk") -> Float[ndarray, "*n outputs"]:
        """Above what an averaged output of a fully trained ensemble is rounded to 1.

        "zero" reads the sign, but 1/2 where s = 1: there the input is a training example and the outputs are its
        labels. "midpoint" is half way between the mean of an output that one set bit asks for and of one that none
        does, β(s)/2 + n_j w₀(s): the margin is β/2 on either side. It needs no more than the number of ones of the input.
        """
        _arguments.choice(f"`{self._name}.threshold(...)`", "kind", kind, THRESHOLDS)
        x = self._inputs("threshold", x)
        if kind == "zero":
            return np.where(x.sum(-1) == 1, 0.5, 0.0)[..., None] * np.ones(self.outputs)
        w = self._weights("threshold", x, inf, regime)
        return w.gap[..., None] / 2 + self.counts * w.unset[..., None]

    def round(
        self, values: Shaped[Any, "*n outputs"], x: Bits, kind: Threshold = "zero", *, regime: Regime = "ntk"
    ) -> Bool[ndarray, "*n outputs"]:
        """Outputs at `x`, averaged over an ensemble, as bits: above the threshold is 1."""
        return np.asarray(values) > self.threshold(x, kind, regime=regime)

    def fit(self, *, regime: Regime = "ntk") -> Any:
        """The same limit by the general machinery: `wl.limit` of the network's code and `wl.train`.

        It takes inputs of unit length, `fit(task.normalise(x), t=…)`, and has the precision that JAX computes in.
        """
        _arguments.choice(f"`{self._name}.fit(...)`", "regime", regime, REGIMES)
        from widelimit.dynamics import train

        rates = "ntk" if regime == "ntk" else {"w1": 0}
        inputs = np.eye(self.k)
        of_network = limit(network(self.k, self.outputs), inputs[0], learning_rates=rates)
        return train(of_network, inputs, self.labels.astype(float))

    def normalise(self, x: Bits) -> Float[ndarray, "*n bits"]:
        """x̂/√s: what the network is given."""
        x = self._inputs("normalise", x)
        return x / np.sqrt(x.sum(-1, keepdims=True))

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _inputs(self, method: str, x: Any) -> Bool[ndarray, "*n bits"]:
        return _arguments.nonzero(f"`{self._name}.{method}(...)`", "x", x, self.k)

    def _hits(self, x: Bool[ndarray, "*n bits"]) -> Int[ndarray, "*n outputs"]:
        return np.rint(x.astype(float) @ self.labels).astype(int)

    def _weights(self, method: str, x: Bool[ndarray, "*n bits"], t: Any, regime: Any) -> Weights:
        call = f"`{self._name}.{method}(...)`"
        _arguments.choice(call, "regime", regime, REGIMES)
        return weights(self.k, x.sum(-1), t=_arguments.time(call, t), regime=regime)
