"""Accuracies that are not reached at the laws of the inputs are said, once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl


def wave(u):
    return jnp.where(u < 0, jnp.sin(u), 0.0)


def gate(scale):
    """A function of two dependent Gaussians of variance scale² and a little more, at the unit vectors."""

    def init(key, width):
        keys = jax.random.split(key, 3)
        w, u = (scale * jax.random.normal(k, (3, width)) for k in keys[:2])
        return {"w": w, "u": u, "v": jax.random.normal(keys[2], (width,)) / jnp.sqrt(width)}

    def apply(params, x):
        a, b = x @ params["w"], x @ params["u"]
        return (jax.nn.sigmoid(a) * jnp.sin(b + 0.1 * a)) @ params["v"]

    return wl.Network(init, apply)


def network(scale):
    def init(key, width):
        keys = jax.random.split(key)
        w = scale * jax.random.normal(keys[0], (3, width))
        return {"w": w, "v": jax.random.normal(keys[1], (width,)) / jnp.sqrt(width)}

    return wl.Network(init, lambda params, x: wave(x @ params["w"]) @ params["v"])


@pytest.mark.slow
def test_a_kernel_warns_of_waves_that_no_panels_follow():
    x, kernel = np.eye(3)[:2], wl.limit(network(1e3), (3,))
    with pytest.warns(wl.ApproximationWarning, match=r"accuracy is not reached.*\(wave\)"):
        kernel.nngp(x)
    kernel.nngp(x)  # once
    assert kernel.explain().nonlinearities[0].error > 1e-2


def test_a_kernel_warns_of_variances_beyond_those_that_its_rule_was_chosen_for():
    x = np.eye(3)[:2]
    wl.limit(gate(1), (3,), accuracy=3e-2)(x)  # without a warning, which is an error here
    kernel = wl.limit(gate(4), (3,), accuracy=3e-2)
    with pytest.warns(wl.ApproximationWarning, match="variances met are larger"):
        kernel(x)
    kernel(x)  # once
    assert kernel.explain().nonlinearities[0].error > 6e-2
