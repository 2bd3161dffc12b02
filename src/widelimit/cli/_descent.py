"""Gradient descent on minibatches: of finite networks, and of their limit in function space."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree
from numpy import ndarray

_AT_ONCE = 250  # examples of one forward pass
_LOOKED_AT = 64  # minibatches whose largest eigenvalue is found


@dataclass(frozen=True)
class Descent:
    """Gradient descent on the loss ½ Σ_B |g − y|² of one minibatch B after the other.

    y are the targets, and g the outputs counted from their start.
    A step is θ ← θ − η λ_θ ∂loss/∂θ for every parameter θ, λ_θ its learning rate in the limit's units. What is trained is
    g_t(x) = f_t(x) − f_0(x): its limit is one function, the mean over networks, whatever their f_0.
    """

    batches: Int[ndarray, "steps size"]
    step: float

    @classmethod
    def plan(cls, ntk: Float[ndarray, "n n"], key: PRNGKeyArray, *, size: int, epochs: int) -> "Descent":
        """Minibatches of `epochs` passes in random order; η = 1/λ_max with λ_max the largest eigenvalue of Θ on a minibatch.

        A constant Θ is descended without divergence up to η = 2/λ_max; finite networks, whose tangent kernels scatter about
        Θ, need the margin.
        """
        count, size = len(ntk), min(size, len(ntk))
        orders = np.stack([np.asarray(jax.random.permutation(k, count)) for k in jax.random.split(key, epochs)])
        batches = orders[:, : count - count % size].reshape(-1, size)
        largest = max(np.linalg.eigvalsh(ntk[np.ix_(b, b)])[-1] for b in batches[:_LOOKED_AT])
        return cls(batches, float(1 / largest))

    def until(self, steps: int) -> "Descent":
        """The same, ended earlier."""
        return Descent(self.batches[:steps], self.step)

    def in_the_limit(
        self, ntk: Float[ndarray, "n n"], targets: Float[ndarray, "n outputs"]
    ) -> Float[ndarray, "n outputs"]:
        """The coefficients a of g_t(x) = Σ_i Θ(x, x_i) a_i after all steps.

        Where Θ stays what it was, a step changes the function by g ← g − η Θ(·, B)(g(B) − y_B), so it changes a on B alone.
        """
        coefficients = np.zeros_like(targets)
        for batch in self.batches:
            coefficients[batch] -= self.step * (ntk[batch] @ coefficients - targets[batch])
        return coefficients


def train(
    net: Any,
    params: PyTree,
    data: tuple[ndarray, ndarray],
    *,
    descent: Descent,
    rates: Mapping[str, float],
    watch: Callable,
) -> Iterator[PyTree]:
    """The parameters of one network after each step.

    `data` are images and targets, `rates` the learning rate λ_θ of every parameter by path, `watch` wraps the minibatches in a
    progress bar.
    """
    images, targets = (jnp.asarray(part, jnp.float32) for part in data)
    goal = targets + outputs(net.apply, params, images)  # g = f − f₀ misses y by what f misses y + f₀
    steps = jax.tree_util.tree_map_with_path(lambda path, _: jnp.float32(descent.step * rates[_name(path)]), params)
    for batch in watch(descent.batches):
        params = jax.block_until_ready(_step(net.apply, params, steps, (images[batch], goal[batch])))
        yield params


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def outputs(apply: Callable, params: PyTree, images: Float[Any, "n ..."]) -> Float[ndarray, "n outputs"]:
    """The outputs of one network for many examples."""
    parts = (images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE))
    return np.concatenate([_outputs(apply, params, part) for part in parts])


@partial(jax.jit, static_argnums=0)
def _outputs(apply: Callable, params: PyTree, images: Float[Array, "n ..."]) -> Float[Array, "n outputs"]:
    return jax.vmap(partial(apply, params))(images)


@partial(jax.jit, static_argnums=0)
def _step(apply: Callable, params: PyTree, steps: PyTree, batch: tuple[Array, Array]) -> PyTree:
    return jax.tree.map(lambda p, s, g: p - s * g, params, steps, jax.grad(partial(_loss, apply))(params, *batch))


def _loss(
    apply: Callable, params: PyTree, images: Float[Array, "n ..."], goal: Float[Array, "n outputs"]
) -> Float[Array, ""]:
    return 0.5 * jnp.sum((_outputs(apply, params, images) - goal) ** 2)
