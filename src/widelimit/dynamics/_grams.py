"""The kernel matrices that training needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
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
        return _matrix(self._checked(self._nngp(x, None), (x, x), "x_test"))

    def test_theta(self, x: PyTree) -> Float[Array, "m m"]:
        """Θ of the test points."""
        return _matrix(self._both(x, None, "x_test")[1])

    def _both(self, x1: PyTree, x2: PyTree | None, name: str) -> tuple[Array, Array]:
        ends = x1, x1 if x2 is None else x2
        if self.regime == "last":
            prior = self._checked(self._nngp(x1, x2), ends, name)
            return prior, prior
        prior, theta = (self._checked(kernel, ends, name) for kernel in self._pair(x1, x2))
        return prior, theta

    def _nngp(self, x1: PyTree, x2: PyTree | None) -> Any:
        if isinstance(self.kernel, Kernel):
            return self.kernel.nngp(*sides(self.kernel, x1, x2))
        return self._pair(x1, x2)[0]

    def _pair(self, x1: PyTree, x2: PyTree | None) -> tuple[Any, Any]:
        found = self.kernel(*sides(self.kernel, x1, x2))
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise ValueError(
                f"`kernel(x1, x2)` returned {type(found).__name__}; expected a pair (K, Θ): the NNGP, and the tangent kernel that trains"
            )
        return tuple(found)

    def _checked(self, kernel: Any, ends: tuple[PyTree, PyTree], name: str) -> Array:
        """Finite entries, one for each pair of examples and of finite output positions; symmetric where the examples are the same."""
        kernel, counts = finite(kernel, name), tuple(jax.tree.leaves(x)[0].shape[0] for x in ends)
        half = kernel.ndim // 2 + 1
        if kernel.ndim % 2 or kernel.shape != (*counts, *2 * kernel.shape[2:half]):
            raise ValueError(
                f"`kernel({name}, ...)` has the shape {kernel.shape}; expected {counts}, or with the output's finite axes "
                f"({counts[0]}, {counts[1]}, *axes, *axes)"
            )
        if ends[0] is ends[1]:
            _check_symmetric(flat(kernel), name)
        return kernel


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


def _check_symmetric(matrix: Float[Array, "m m"], name: str) -> None:
    """An eigendecomposition would read one half and not see the other."""
    off = float(jnp.abs(matrix - matrix.T).max(initial=0))
    if off > float(jnp.finfo(matrix.dtype).eps) ** 0.5 * float(jnp.abs(matrix).max(initial=0)):
        raise ValueError(f"`kernel({name}, {name})` is not symmetric, by {off:.2g}; expected a covariance")


def _matrix(kernel: Array) -> Float[Array, "m1 m2"]:
    return flat(kernel).astype(jnp.result_type(float))
