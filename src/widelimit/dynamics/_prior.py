"""The network at initialisation: a Gaussian process, or one given function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from widelimit.dynamics._grams import Grams, finite, sides
from widelimit.dynamics._layout import Layout, flat
from widelimit.dynamics._singular import clipped_root, root
from widelimit.limit import Kernel


class Start(NamedTuple):
    """The initial functions on the training and the test points, one column an output and draw: f₀ alone, or f₀ and h = J θ₀."""

    train: Float[Array, "r n c"]
    test: Float[Array, "r m c"]


class Prior:
    """f₀ as a Gaussian process of covariance K."""

    count = 1

    def __init__(self, grams: Grams):
        self.grams = grams

    @property
    def train(self) -> Float[Array, "rn rn"]:
        """The covariance of all functions on the training points, one function after the other."""
        return self.grams.prior

    def cross(self, x: PyTree) -> Float[Array, "rm rn"]:
        """That of test with training points."""
        return self.grams.cross(x)[0]

    def test(self, x: PyTree) -> Float[Array, "rm rm"]:
        """That of the test points."""
        return self.grams.test(x)

    @functools.cached_property
    def _root(self) -> tuple[Array, Array]:
        return root(self.train, self.grams.eps)

    def draw(self, key: PRNGKeyArray, columns: int, x: PyTree) -> Start:
        """f₀(x) = K(x, X) K(X, X)⁻¹ f₀(X) + what x has of its own; f₀(X) is drawn first.

        So the same key means the same functions, whatever the test points.
        """
        first, second = jax.random.split(key)
        test = self.test(x)
        known, own = (jax.random.normal(k, (columns, n)) for k, n in ((first, len(self.train)), (second, len(test))))
        drawn = _drawn(*self._root, known.T, own.T, (self.cross(x), test))
        return Start(*(f.reshape(self.count, -1, columns) for f in drawn))


class RadialPrior(Prior):
    """f₀ and h = J θ₀ as a joint Gaussian process, the law of `wl.radial`."""

    count = 2

    def __init__(self, grams: Grams, radial: Callable[..., Any]):
        super().__init__(grams)
        self.radial = radial

    @functools.cached_property
    def train(self) -> Float[Array, "rn rn"]:
        """K of f₀ and h."""
        return self._joint(self.grams.x, None, "x")

    def cross(self, x: PyTree) -> Float[Array, "rm rn"]:
        """K of f₀ and h."""
        return self._joint(x, self.grams.x, "x_test")

    def test(self, x: PyTree) -> Float[Array, "rm rm"]:
        """K of f₀ and h."""
        return self._joint(x, None, "x_test")

    def _joint(self, x1: PyTree, x2: PyTree | None, name: str) -> Float[Array, "rm rn"]:
        law = self.radial.nngp if isinstance(self.radial, Kernel) else self.radial
        kernel = finite(law(*sides(self.radial, x1, x2)), name)
        expected = (*kernel.shape[:2], 2, *self.grams.axes, 2, *self.grams.axes)
        if kernel.shape != expected:
            raise ValueError(
                f"`wl.train(..., radial=...)`: the kernel of f₀ and h has the shape {kernel.shape}; expected {expected}, as that of "
                "`wl.radial(kernel, net)`"
            )
        blocks = flat(kernel).reshape(kernel.shape[0], 2, self._size, kernel.shape[1], 2, self._size)
        rows, columns = kernel.shape[0] * self._size, kernel.shape[1] * self._size
        matrix = blocks.transpose(1, 0, 2, 4, 3, 5).reshape(2 * rows, 2 * columns)
        return matrix.astype(jnp.result_type(float))

    @property
    def _size(self) -> int:
        return Layout(self.grams.axes, ()).size


@jax.jit
def _drawn(
    scale: Float[Array, "n n"],
    inverse: Float[Array, "n n"],
    known: Float[Array, "n c"],
    own: Float[Array, "m c"],
    prior: tuple,
) -> tuple[Float[Array, "n c"], Float[Array, "m c"]]:
    cross, test = prior
    seen = cross @ inverse
    return scale @ known, seen @ known + clipped_root(test - seen @ seen.T) @ own


def given(initial: Callable[[PyTree], Array], x: PyTree, layout: Layout, name: str) -> Float[Array, "n c"]:
    """The columns of the given initial function."""
    values = jnp.asarray(initial(x))
    expected = (*layout.axes, *layout.outputs)
    if values.shape[1:] != expected:
        raise ValueError(
            f"`wl.train(..., initial=f0)`: `f0({name})` has the shape {values.shape}; expected (N, {', '.join(map(str, expected))})"
        )
    if not np.isfinite(np.asarray(values)).all():
        raise ValueError(f"`wl.train(..., initial=f0)`: `f0({name})` holds NaN or infinite values")
    return layout.columns(values).astype(jnp.result_type(float))
