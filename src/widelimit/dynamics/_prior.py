"""The network at initialisation: a Gaussian process, or one given function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from widelimit.dynamics._grams import Grams
from widelimit.dynamics._layout import Layout
from widelimit.dynamics._singular import clipped_root, root


class Start(NamedTuple):
    """f₀ on the training and the test points, one column a function and output."""

    train: Float[Array, "n c"]
    test: Float[Array, "m c"]


class Prior:
    """Draws f₀ from the Gaussian process of covariance K: on the training points first, then on test points given those.

    So the same key means the same functions, whatever the test points.
    """

    def __init__(self, grams: Grams):
        self.grams = grams

    @functools.cached_property
    def _root(self) -> tuple[Array, Array]:
        return root(self.grams.prior, self.grams.eps)

    def draw(self, key: PRNGKeyArray, columns: int, x: PyTree) -> Start:
        """f₀(x) = K(x, X) K(X, X)⁻¹ f₀(X) + what x has of its own."""
        known, own = (jax.random.normal(k, (columns, n)) for k, n in self._keys(key, x))
        scale, inverse = self._root
        return Start(*_drawn(scale, inverse, known.T, own.T, (self.grams.cross(x)[0], self.grams.test(x))))

    def _keys(self, key: PRNGKeyArray, x: PyTree) -> list[tuple[PRNGKeyArray, int]]:
        first, second = jax.random.split(key)
        return [(first, len(self.grams.prior)), (second, len(self.grams.test(x)))]


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
