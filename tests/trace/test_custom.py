"""Functions with a derivative of the user's own."""

import jax
import jax.numpy as jnp
import pytest

import widelimit as wl
from networks import drawn, readout
from widelimit.trace import _custom


def by_jvp(fn, slope):
    custom = jax.custom_jvp(fn)
    custom.defjvps(lambda t, _, h: slope(h) * t)
    return custom


def by_vjp(fn, slope):
    custom = jax.custom_vjp(fn)
    custom.defvjp(lambda h: (fn(h), h), lambda h, g: (slope(h) * g,))
    return custom


def network(phi):
    return wl.Network(drawn(lambda n: {"w": (3, n), "v": (n, 1)}), lambda p, x: readout(p, phi(x @ p["w"])))


WAYS = pytest.mark.parametrize("custom", [by_jvp, by_vjp])


@WAYS
def test_a_straight_through_estimator_is_refused(custom):
    """The step's own derivative is zero; networks would be trained by the slope of another function."""
    step = custom(lambda h: jnp.where(h > 0, 1.0, 0.0), lambda h: jnp.exp(-(h**2)))
    with pytest.raises(wl.Refusal, match="derivative that is not that of its function"):
        wl.limit(network(step), (3,))


@WAYS
def test_a_slope_wrong_by_a_factor_is_refused(custom):
    with pytest.raises(wl.Refusal, match="derivative that is not that of its function"):
        wl.limit(network(custom(jnp.sin, lambda h: 1.05 * jnp.cos(h))), (3,))


@WAYS
def test_a_slope_that_is_right_is_taken(custom):
    wl.limit(network(custom(jnp.sin, jnp.cos)), (3,))


def test_a_function_that_a_loop_meets_again_is_checked_once(monkeypatch):
    checked, agrees = [], _custom._agrees
    monkeypatch.setattr(_custom, "_agrees", lambda step: checked.append(step) or agrees(step))
    ramp = by_jvp(lambda h: jnp.maximum(h, 0.0), lambda h: jnp.where(h > 0, 1.0, 0.0))

    def apply(p, x):
        def step(h, xi):
            return ramp(h @ p["u"] / jnp.sqrt(h.size) + xi * p["w"]), None

        return readout(p, jax.lax.scan(step, jnp.zeros(p["w"].shape), x)[0])

    wl.limit(wl.Network(drawn(lambda n: {"w": (n,), "u": (n, n), "v": (n, 1)}), apply), (3,))
    assert len(checked) == 1
