"""What a kernel returns."""

from typing import NamedTuple

from jax import Array


class Kernels(NamedTuple):
    """The covariance of the Gaussian process at initialisation, and the tangent kernel."""

    nngp: Array
    ntk: Array
