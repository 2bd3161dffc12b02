"""Full-batch gradient descent of many networks at once, on the k basis vectors."""

from functools import partial
from math import sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ._network import Parametrisation

_FEW_OUTPUTS = 16  # up to which k eigenvalue problems of this size cost less than the descent


class Setup(NamedTuple):
    """What decides the program that trains: sizes, parametrisation, and which layers move."""

    k: int
    outputs: int
    width: int
    parametrisation: Parametrisation
    first_trains: bool

    @property
    def scales(self) -> tuple[float, float]:
        """a₁, a₂ of f(x) = a₂ W₂ relu(a₁ W₁ x)."""
        return (1 / sqrt(self.k), 1 / sqrt(self.width)) if self.parametrisation == "ntk" else (1.0, 1.0)


class Spectrum(NamedTuple):
    """Bounds on the eigenvalues of each network's tangent kernel on the training set."""

    smallest: Float[Array, " members"]
    largest: Float[Array, " members"]


class Descent(NamedTuple):
    """Trained parameters, the largest residual |f − y| that is left, and how many steps it took."""

    params: PyTree
    residual: Float[Array, " members"]
    steps: Int[Array, ""]


def spectrum(setup: Setup, params: PyTree) -> Spectrum:
    """Of the tangent kernel at `params`, whose leaves have a first axis of members.

    Between outputs p, q at training inputs i, j it is δ_pq A_ij + δ_ij B^i_pq: A = a₂² HᵀH of the last layer, H = relu(a₁ W₁), and
    B^i = a₁² a₂² W₂ diag(1[W₁ e_i > 0]) W₂ᵀ of the first, block-diagonal because basis vectors are orthogonal. The extreme
    eigenvalues of the parts add up to bounds on those of the sum, attained as the width grows (B is then (1/2k) 1 and A the NNGP kernel).
    """
    a1, a2 = setup.scales
    hidden = jax.nn.relu(a1 * params["w1"])
    last = jnp.linalg.eigvalsh(a2**2 * jnp.einsum("mni,mnj->mij", hidden, hidden))
    low, high = last[:, 0], last[:, -1]
    if setup.first_trains:
        least, most = _extremes((a1 * a2) ** 2 * jax.lax.map(_first_layer, (params["w1"], params["w2"])))
        low, high = low + least, high + most
    return Spectrum(jnp.maximum(low, 0), high)


def _first_layer(member: tuple[Float[Array, "n k"], Float[Array, "p n"]]) -> Float[Array, "k p p"]:
    w1, w2 = member
    return jax.lax.map(lambda column: (w2 * (column > 0)) @ w2.T, w1.T)


def _extremes(blocks: Float[Array, "m k p p"]) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """The extreme eigenvalues of k blocks; of many outputs bounds, through the blocks' mean and their distance from it."""
    if blocks.shape[-1] <= _FEW_OUTPUTS:
        values = jnp.linalg.eigvalsh(blocks)
        return values[..., 0].min(-1), values[..., -1].max(-1)
    centre = blocks.mean(1)
    values = jnp.linalg.eigvalsh(centre)
    distance = jnp.sqrt(((blocks - centre[:, None]) ** 2).sum((-2, -1))).max(-1)
    return values[:, 0] - distance, values[:, -1] + distance


@partial(jax.jit, static_argnums=0)
def descend(
    setup: Setup,
    params: PyTree,
    labels: Float[Array, "k p"],
    step: Float[Array, " members"],
    *,
    tolerance: Float[Array, ""],
    most: Int[Array, ""],
) -> Descent:
    """Steps of gradient descent on ½ Σ |f − y|² until every residual is at most `tolerance`, at most `most` of them.

    On e_i the hidden layer sees column i of W₁: the forward pass is a₂ W₂ relu(a₁ W₁), (outputs, k), without the inputs.
    """
    a1, a2 = setup.scales
    target = labels.T

    def error(params: PyTree) -> tuple[Array, Array]:
        hidden = jax.nn.relu(a1 * params["w1"])
        return hidden, a2 * jnp.einsum("mpn,mnk->mpk", params["w2"], hidden) - target

    def residual(state: tuple) -> Array:
        return jnp.abs(state[2]).max((1, 2))

    def unfinished(state: tuple) -> Array:
        worst = residual(state).max()
        return (worst > tolerance) & (state[3] < most) & jnp.isfinite(worst)

    def update(state: tuple) -> tuple:
        params, hidden, wrong, steps = state
        scaled = a2 * step[:, None, None] * wrong
        change = {"w1": 0.0, "w2": jnp.einsum("mpk,mnk->mpn", scaled, hidden)}
        if setup.first_trains:
            back = jnp.einsum("mpn,mpk->mnk", params["w2"], scaled)
            change["w1"] = a1 * back * (params["w1"] > 0)
        params = {name: params[name] - change[name] for name in params}
        return params, *error(params), steps + 1

    state = jax.lax.while_loop(unfinished, update, (params, *error(params), jnp.zeros((), int)))
    return Descent(state[0], residual(state), state[3])
