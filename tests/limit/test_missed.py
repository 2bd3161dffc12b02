"""Accuracies that are not reached at the laws of the inputs are said, once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl


def wave(u):
    return jnp.where(u < 0, jnp.sin(u), 0.0)


def gate(scale, sine=jnp.sin):
    """A function of two dependent Gaussians of variance scale² and a little more, at the unit vectors; networks share it."""

    def init(key, width):
        keys = jax.random.split(key, 3)
        w, u = (scale * jax.random.normal(k, (3, width)) for k in keys[:2])
        return {"w": w, "u": u, "v": jax.random.normal(keys[2], (width,)) / jnp.sqrt(width)}

    def apply(params, x):
        a, b = x @ params["w"], x @ params["u"]
        return (jax.nn.sigmoid(a) * sine(b + 0.1 * a)) @ params["v"]

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


@pytest.mark.parametrize(
    "computed",
    [lambda kernel, x: kernel(x).ntk, pytest.param(lambda kernel, x: kernel.diagonal(x).ntk, marks=pytest.mark.slow)],
)
def test_rules_are_chosen_for_the_variances_that_are_met(computed):
    """Without a warning, which would be an error here; with the rule of the standard laws tangent kernels are 0.2 off."""
    x = np.eye(3)[:1]
    rough, fine = (computed(wl.limit(gate(4), (3,), accuracy=accuracy), x) for accuracy in (3e-2, 1e-3))
    np.testing.assert_allclose(rough, fine, rtol=3e-2)


def test_rules_that_another_kernel_chose_replace_those_compiled_before():
    """Networks share functions: rules of one that met large variances serve the other's programs too, as they are measured."""
    small, large = 0.1 * np.eye(3)[:1], np.eye(3)[:1]
    first, second = (wl.limit(gate(4, lambda u: jnp.sin(u + 1)), (3,), accuracy=3e-2) for _ in range(2))
    first.nngp(small)
    second(large)
    np.testing.assert_array_equal(first.nngp(large), second(large).nngp)


def test_a_kernel_warns_where_no_rule_serves(monkeypatch):
    monkeypatch.setattr("widelimit.gaussian.renew", lambda phi: 0)
    kernel, x = wl.limit(gate(4, jnp.cos), (3,), accuracy=3e-2), np.eye(3)[:2]
    with pytest.warns(wl.ApproximationWarning, match="no rule for several Gaussians"):
        kernel(x)
    kernel(x)  # once
    assert kernel.explain().nonlinearities[0].error > 6e-2
