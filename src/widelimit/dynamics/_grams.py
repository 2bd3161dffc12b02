"""The kernel matrices that training needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from widelimit.dynamics._layout import flat
from widelimit.limit import Kernel


class Grams:
    """K (the covariance at initialisation) and Θ (what trains), between training and test points, as matrices.

    In the regime "ntk" Θ is the tangent kernel; in the regime "last" only the readout is trained, and Θ = K.
    """

    def __init__(self, kernel: Callable[..., Any], x: PyTree, regime: str):
        self.kernel, self.x, self.regime = kernel, x, regime

    @functools.cached_property
    def _train(self) -> tuple[Array, Array]:
        return self._both(self.x, None, "x")

    @property
    def axes(self) -> tuple[int, ...]:
        """The finite output axes of one example."""
        shape = self._train[1].shape
        return shape[2 : 2 + (len(shape) - 2) // 2]

    @property
    def examples(self) -> int:
        """How many training examples there are."""
        return self._train[1].shape[0]

    @property
    def eps(self) -> float:
        """The rounding of the kernel's own entries, relative."""
        return float(jnp.finfo(self._train[1].dtype).eps)

    @property
    def dtype(self) -> Any:
        """The dtype of the kernel's entries."""
        return self._train[1].dtype

    @functools.cached_property
    def prior(self) -> Float[Array, "n n"]:
        """K of the training points."""
        return _matrix(self._train[0])

    @functools.cached_property
    def theta(self) -> Float[Array, "n n"]:
        """Θ of the training points."""
        return _matrix(self._train[1])

    def cross(self, x: PyTree) -> tuple[Float[Array, "m n"], Float[Array, "m n"]]:
        """K and Θ of test points with training points."""
        prior, theta = self._both(x, self.x, "x_test")
        return _matrix(prior), _matrix(theta)

    def test(self, x: PyTree) -> Float[Array, "m m"]:
        """K of the test points."""
        return _matrix(finite(self._nngp(x, None), "x_test"))

    def test_theta(self, x: PyTree) -> Float[Array, "m m"]:
        """Θ of the test points."""
        return _matrix(self._both(x, None, "x_test")[1])

    def _both(self, x1: PyTree, x2: PyTree | None, name: str) -> tuple[Array, Array]:
        if self.regime == "last":
            prior = finite(self._nngp(x1, x2), name)
            return prior, prior
        prior, theta = self.kernel(*sides(self.kernel, x1, x2))
        return finite(prior, name), finite(theta, name)

    def _nngp(self, x1: PyTree, x2: PyTree | None) -> Any:
        both = sides(self.kernel, x1, x2)
        return self.kernel.nngp(*both) if isinstance(self.kernel, Kernel) else self.kernel(*both)[0]


def sides(kernel: Any, x1: PyTree, x2: PyTree | None) -> tuple[PyTree, ...]:
    """A `wl.Kernel` of one side does half the work; another callable gets both."""
    if x2 is not None:
        return x1, x2
    return (x1,) if isinstance(kernel, Kernel) else (x1, x1)


def finite(kernel: Any, name: str) -> Array:
    """The kernel as an array, checked."""
    kernel = jnp.asarray(kernel)
    if not np.isfinite(np.asarray(kernel)).all():
        raise ValueError(
            f"`kernel({name}, ...)` holds NaN or infinite entries; scale the inputs down, or switch on float64 with "
            "`jax.config.update('jax_enable_x64', True)`"
        )
    return kernel


def _matrix(kernel: Array) -> Float[Array, "m1 m2"]:
    return flat(kernel).astype(jnp.result_type(float))
