"""Accuracies that are not reached at the laws of the inputs are said, once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl


def wave(u):
    return jnp.where(u < 0, jnp.sin(u), 0.0)


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
