"""Infinite-width limits of neural networks, read from the network's own code."""

from widelimit.finite import empirical_ntk, verify
from widelimit.limit import ApproximationWarning, Kernel, Kernels, limit
from widelimit.network import Network, constant, from_equinox, from_flax, normal, uniform
from widelimit.trace import Refusal

__all__ = [
    "ApproximationWarning",
    "Kernel",
    "Kernels",
    "Network",
    "Refusal",
    "constant",
    "empirical_ntk",
    "from_equinox",
    "from_flax",
    "limit",
    "normal",
    "uniform",
    "verify",
]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("widelimit")
