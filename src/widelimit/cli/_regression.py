"""Kernel regression: the mean of the posterior."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class Regression:
    """f(x) = K(x, X) (K(X, X) + ρ d I)⁻¹ Y, d the mean of the diagonal of K and ρ the `ridge`.

    With the NNGP it is the mean of the posterior of the network as a Gaussian process (only the readout trained); with the NTK the
    mean over wide networks trained to the end of gradient flow.
    """

    coefficients: Float[ndarray, "n outputs"]

    @classmethod
    def fit(cls, kernel: Float[ndarray, "n n"], targets: Float[ndarray, "n outputs"], *, ridge: float) -> "Regression":
        from scipy.linalg import cho_factor, cho_solve

        damped = np.array(kernel, float)
        damped.flat[:: len(damped) + 1] += ridge * damped.diagonal().mean()
        return cls(cho_solve(cho_factor(damped, lower=True, overwrite_a=True), targets))

    def __call__(self, cross: Float[ndarray, "m n"]) -> Float[ndarray, "m outputs"]:
        return np.asarray(cross, float) @ self.coefficients


def accuracy(outputs: Float[ndarray, "n outputs"], labels: Int[ndarray, " n"]) -> float:
    """The share of examples whose largest output is that of their class."""
    return float((outputs.argmax(1) == labels).mean())
