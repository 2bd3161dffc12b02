"""Activations with jumps: the tangent kernel takes derivatives almost everywhere, the kernels themselves true ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from montecarlo import assert_agrees
from networks import drawn, readout

X = np.random.default_rng(0).normal(size=(3, 3))


def one_layer(activation):
    return wl.Network(
        drawn(lambda n: {"w": (3, n), "v": (n, 1)}), lambda params, x: readout(params, activation(x @ params["w"]))
    )


@pytest.mark.parametrize("activation", [jnp.sign, lambda h: (h > 0) * 1.0], ids=["sign", "step"])
def test_nothing_is_learned_below_a_step(activation):
    kernel = wl.limit(one_layer(activation), X[0])
    nngp, ntk = kernel.pair(X[0], X[1])
    np.testing.assert_allclose(ntk, nngp, rtol=1e-12)


def test_kernel_of_signs_is_semidefinite():
    ntk = wl.limit(one_layer(jnp.sign), X[0])(X).ntk
    assert np.linalg.eigvalsh(ntk).min() > -1e-12


@pytest.mark.slow
def test_a_jump_and_a_slope_agree_with_finite_networks():
    assert_agrees(one_layer(lambda h: jax.nn.relu(h) * jnp.sign(h - 0.3)), X, width=6, draws=1000)


def test_gradient_in_the_input_sees_the_jump():
    kernel = wl.limit(one_layer(jnp.sign), X[0])

    def nngp(x):
        return kernel.pair(x, X[1]).nngp

    step = 1e-6 * jnp.eye(3)
    differences = [(nngp(X[0] + e) - nngp(X[0] - e)) / 2e-6 for e in step]
    np.testing.assert_allclose(jax.grad(nngp)(jnp.asarray(X[0])), jnp.asarray(differences), rtol=1e-6)
