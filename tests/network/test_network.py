"""A network as a family over its width, written as plain functions."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.network import Network, constant, normal, uniform
from widelimit.trace._scale import Scale


def init(key, width):
    k1, k2 = jax.random.split(key)
    return {"w1": jax.random.normal(k1, (3, width)), "w2": jax.random.normal(k2, (width, 1)) / math.sqrt(width)}


def apply(params, x):
    return jax.nn.relu(x @ params["w1"]) @ params["w2"]


X = jnp.array([1.0, -2.0, 0.5])
KEY = jax.random.key(0)
NET = Network(init, apply)


@pytest.mark.parametrize("width", [1, 7, 64])
def test_init_and_apply_are_the_functions_given(width):
    params = NET.init(KEY, width)
    assert params["w1"].shape == (3, width)
    np.testing.assert_array_equal(NET.apply(params, X), apply(init(KEY, width), X))


def test_init_jits_and_maps():
    keys = jax.random.split(KEY, 4)
    stacked = jax.vmap(lambda key: NET.init(key, 5))(keys)
    one = jax.jit(NET.init, static_argnums=1)(keys[2], 5)
    np.testing.assert_allclose(stacked["w2"][2], one["w2"])


def test_apply_is_differentiable_in_both_arguments():
    params = NET.init(KEY, 5)
    by_params, by_x = jax.grad(lambda p, x: NET.apply(p, x).sum(), argnums=(0, 1))(params, X)
    assert jax.tree.structure(by_params) == jax.tree.structure(params)
    np.testing.assert_allclose(by_x, jax.jacfwd(lambda x: NET.apply(params, x).sum())(X))


def test_init_traces_with_an_abstract_key():
    out = jax.eval_shape(lambda key: NET.init(key, 6), KEY)
    assert out["w1"].shape == (3, 6)


def test_all_is_trained_unless_frozen():
    assert NET.is_trainable("w1")
    assert not Network(init, apply, frozen=["w1"]).is_trainable("w1")
    assert Network(init, apply, frozen=["w1"]).is_trainable("w2")
    assert not Network(init, apply, frozen="w1").is_trainable("w1")
    assert not Network(init, apply, frozen=lambda path: path.startswith("w")).is_trainable("w2")


@pytest.mark.parametrize("wrong", [lambda key: {}, lambda key, width, depth: {}, lambda *, key, width: {}])
def test_init_takes_key_and_width(wrong):
    with pytest.raises(TypeError, match=r"`init` must be callable as `init\(key, width\)`, got"):
        Network(wrong, apply)


def test_apply_takes_params_and_x():
    with pytest.raises(TypeError, match=r"`apply` must be callable as `apply\(params, x\)`, got .*\(params\)"):
        Network(init, lambda params: params)


def test_init_is_a_function():
    with pytest.raises(TypeError, match=r"`init` must be a function called as `init\(key, width\)`, got 3"):
        Network(3, apply)


@pytest.mark.parametrize("width", [64.0, "64", None])
def test_the_width_is_an_integer(width):
    with pytest.raises(TypeError, match="the width is a Python integer"):
        NET.init(KEY, width)


def test_the_width_is_not_traced():
    with pytest.raises(TypeError, match="make it static"):
        jax.jit(NET.init)(KEY, 64)


def test_the_width_is_positive():
    with pytest.raises(ValueError, match="the width is at least 1, got 0"):
        NET.init(KEY, 0)


@pytest.mark.parametrize("leaf", [0.5, "relu", jax.nn.relu, object()])
def test_every_leaf_is_an_array(leaf):
    net = Network(lambda key, width: {"w": jnp.ones(width), "layer": [leaf]}, apply)
    with pytest.raises(TypeError, match=r"must return arrays only, but the parameter 'layer/0' is .*`jnp.asarray`"):
        net.init(KEY, 4)


@pytest.mark.parametrize("nothing", [{}, None, []])
def test_there_is_a_parameter(nothing):
    with pytest.raises(ValueError, match="returned no parameter"):
        Network(lambda key, width: nothing, apply).init(KEY, 4)


WIDTHS = (16, 24, 32)


DECLARED = {
    "normal": (normal(0.5), Scale(0.0), Scale(0.25)),
    "mean": (normal(2, mean=1), Scale(1.0), Scale(4.0)),
    "of width": (normal(lambda n: math.sqrt(2 / n)), Scale(0.0), Scale(2.0, Fraction(-1))),
    "uniform": (uniform(-1, 1), Scale(0.0), Scale(1 / 3)),
    "bound of width": (uniform(0, lambda n: 1 / n), Scale(0.5, Fraction(-1)), Scale(1 / 12, Fraction(-2))),
    "constant": (constant(1.5), Scale(1.5), Scale(0.0)),
}


@pytest.mark.parametrize("name", DECLARED)
def test_declared_laws_have_their_moments(name):
    declared, mean, variance = DECLARED[name]
    law = declared.law(WIDTHS)
    assert (law.mean, law.variance) == (mean, variance)


def test_declared_laws_are_kept():
    law = normal(0.5)
    assert Network(init, apply, laws={"w1": law}).laws == {"w1": law}


@pytest.mark.parametrize("wrong", [0.5, "normal", (0.0, 1.0)])
def test_laws_are_laws(wrong):
    with pytest.raises(TypeError, match=r"`laws` is a dict from parameter path to a law such as `wl.normal\(std\)`"):
        Network(init, apply, laws={"w1": wrong})


def test_a_law_takes_numbers_or_functions():
    with pytest.raises(TypeError, match="`std` is a number or a function of the width, got 'wide'"):
        normal("wide")
