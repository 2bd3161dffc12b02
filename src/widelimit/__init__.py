"""Infinite-width limits of neural networks, read from the network's own code."""

from widelimit import exact, spectrum
from widelimit.dynamics import (
    SGD,
    GradientDescent,
    GradientFlow,
    JitterWarning,
    Momentum,
    cross_entropy,
    huber,
    posterior,
    quantile,
    radial,
    squared_error,
    train,
)
from widelimit.evidence import EvidenceFit, evidence, fit_evidence, rescaled
from widelimit.finite import empirical_ntk, verify
from widelimit.limit import ApproximationWarning, Diagnosis, Kernel, Kernels, SampledKernel, diagnose, limit
from widelimit.network import Network, constant, from_equinox, from_flax, normal, uniform
from widelimit.trace import Refusal

__all__ = [
    "SGD",
    "ApproximationWarning",
    "Diagnosis",
    "EvidenceFit",
    "GradientDescent",
    "GradientFlow",
    "JitterWarning",
    "Kernel",
    "Kernels",
    "Momentum",
    "Network",
    "Refusal",
    "SampledKernel",
    "constant",
    "cross_entropy",
    "diagnose",
    "empirical_ntk",
    "evidence",
    "exact",
    "fit_evidence",
    "from_equinox",
    "from_flax",
    "huber",
    "limit",
    "normal",
    "posterior",
    "quantile",
    "radial",
    "rescaled",
    "spectrum",
    "squared_error",
    "train",
    "uniform",
    "verify",
]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("widelimit")
