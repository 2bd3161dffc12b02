"""The radial derivative of a network in its weights: what decay toward zero takes of the initial function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from widelimit.limit import Kernel, limit
from widelimit.network import Network


def radial(kernel: Kernel, net: Any) -> Kernel:
    """The joint law of f₀ and its radial derivative h = J θ₀ = d/ds f(x; (1 + s) θ₀) at s = 0, over all trained weights.

    h is a Tensor Program too, the derivative of the network's own along its weights, so both together are a Gaussian process in
    the limit (Yang, Tensor Programs II, Master Theorem). Where the network is homogeneous of degree k in what is trained,
    h = k f₀ (Euler); with biases, tanh or a LayerNorm it is a process of its own.

    Args:
        kernel: The limit of `net`: its learning rates say what is trained.
        net: The network that `kernel` is the limit of.

    Returns:
        A `wl.Kernel` whose output has the axis (f₀, h) before the network's own: `.nngp(x1, x2)` is
        `(N1, N2, 2, *axes, 2, *axes)`. It is what `wl.train(..., weight_decay=μ, radial=...)` takes.

    Raises:
        Refusal: Where the derivative has a step without a rule.
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(
            f"`wl.radial(kernel, net)`: got a kernel of type {type(kernel).__name__}; expected `wl.limit(net, example)`"
        )
    moved = frozenset(path for path, parameter in kernel.reading.parameters.items() if parameter.rate)
    shapes = [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in kernel.reading.inputs]
    example = jax.tree_util.tree_unflatten(kernel.reading.structure, shapes)
    pair = Network(net.init, partial(_with_derivative, net.apply, moved), laws=net.laws)
    return limit(pair, example, learning_rates=0, accuracy=kernel.accuracy)


def _with_derivative(apply: Callable, moved: frozenset[str], params: PyTree, x: PyTree) -> Array:
    """f(x; θ) and d/ds f(x; θ + s θ'), θ' the trained weights, along a first axis of two."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    trained = {name: leaf for name, (_, leaf) in zip(names, leaves, strict=True) if name in moved}

    def of_trained(new: dict[str, Array]) -> Array:
        return apply(structure.unflatten([new.get(n, leaf) for n, (_, leaf) in zip(names, leaves, strict=True)]), x)

    return jnp.stack(jax.jvp(of_trained, (trained,), (trained,)))
