"""Which leaves may be drawn anew: only those that share no random bits with the rest, and in which f is affine."""

import jax
import jax.numpy as jnp
import pytest

from finite import relu
from widelimit.finite._readout import readout

WIDTH, INPUTS = 6, 6
KEY = jax.random.key(0)


def normal(key, *shape):
    return jax.random.normal(key, shape)


def tanh_net(init):
    def apply(params, x):
        return jnp.tanh(x @ params["w"]) @ params["v"] + params.get("c", 0.0)

    return relu.Net(init, apply)


def separate(key, n):
    a, b = jax.random.split(key)
    return {"w": normal(a, INPUTS, n), "v": normal(b, n)}


def with_bias(key, n):
    return separate(key, n) | {"c": normal(jax.random.fold_in(key, 7))}


def with_zero_bias(key, n):
    return separate(key, n) | {"c": jnp.zeros(())}


def tied(key, n):
    w = normal(key, INPUTS, n)
    return {"w": w, "v": w[0]}


def same_key(key, n):
    return {"w": normal(key, INPUTS, n), "v": normal(key, n)}


def same_key_found_twice(key, n):
    return {"w": normal(jax.random.split(key, 2)[0], INPUTS, n), "v": normal(jax.random.split(key, 3)[0], n)}


def scaled_by_other(key, n):
    drawn = separate(key, n)
    return drawn | {"v": drawn["v"] / jnp.linalg.norm(drawn["w"])}


def in_a_loop(key, n):
    def step(key, _):
        key, sub = jax.random.split(key)
        return key, normal(sub, n)

    return {"w": normal(jax.random.fold_in(key, 1), INPUTS, n), "v": jax.lax.scan(step, key, None, 2)[1][1]}


def truncated(key, n):
    a, b = jax.random.split(key)
    return {"w": normal(a, INPUTS, n), "v": jax.random.truncated_normal(b, -2, 2, (n,))}


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (separate, ("v",)),
        (with_bias, ("c", "v")),
        (with_zero_bias, ("v",)),
        (truncated, ("v",)),
        (jax.jit(separate, static_argnums=1), ("v",)),
        (tied, ()),
        (same_key, ()),
        (same_key_found_twice, ()),
        (scaled_by_other, ()),
        (in_a_loop, ()),
    ],
)
def test_readout_of(init, expected):
    assert readout(tanh_net(init), WIDTH, KEY, jnp.ones(INPUTS)) == expected


def test_only_one_layer_of_a_linear_network():
    net = relu.Net(separate, lambda params, x: x @ params["w"] @ params["v"])
    assert readout(net, WIDTH, KEY, jnp.ones(INPUTS)) == ("v",)


def test_raw_keys():
    assert readout(tanh_net(separate), WIDTH, jax.random.PRNGKey(0), jnp.ones(INPUTS)) == ("v",)
