"""Networks written as flax.nnx modules."""

import functools
import math
import sys
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from widelimit.network import from_flax, normal
from widelimit.trace._jaxpr import trace
from widelimit.trace._laws import laws
from widelimit.trace._scale import Scale

KEY = jax.random.key(0)
X = jnp.array([1.0, -2.0, 0.5])


class Perceptron(nnx.Module):
    """Everything that a state holds: parameters in lists, statistics, random streams and bare arrays."""

    def __init__(self, width, rngs):
        self.layers = nnx.List([nnx.Linear(3, width, rngs=rngs), nnx.Linear(width, 2, rngs=rngs)])
        self.norm = nnx.BatchNorm(width, use_running_average=True, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
        self.table = jnp.sin(jnp.arange(3.0))
        self.calls = nnx.Variable(jnp.zeros(()))

    def __call__(self, x):
        self.calls[...] += 1
        return self.layers[1](jax.nn.relu(self.norm(self.layers[0](self.dropout(x + self.table))))) + self.calls[...]


NET = from_flax(lambda width, rngs: Perceptron(width, rngs))


def paths_of(tree):
    return [
        jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]


PATHS = [
    *("calls", "layers/0/bias", "layers/0/kernel", "layers/1/bias", "layers/1/kernel"),
    *("norm/bias", "norm/mean", "norm/scale", "norm/var", "table"),
]


@pytest.mark.parametrize("width", [2, 16])
def test_parameters_are_named_by_their_paths(width):
    params = NET.init(KEY, width)
    assert paths_of(params) == list(params) == PATHS
    assert params["layers/0/kernel"].shape == (3, width)


@pytest.mark.parametrize("width", [2, 16])
def test_the_same_numbers_as_the_module(width):
    module = Perceptron(width, nnx.Rngs(KEY))
    np.testing.assert_allclose(NET.apply(NET.init(KEY, width), X), module(X), rtol=1e-6)


def test_a_call_leaves_nothing_behind():
    params = NET.init(KEY, 4)
    first = NET.apply(params, X)
    np.testing.assert_array_equal(first, NET.apply(params, X))
    assert params["calls"] == 0


def test_jit_agrees():
    params = jax.jit(NET.init, static_argnums=1)(KEY, 4)
    eager = NET.init(KEY, 4)
    assert jax.tree.structure(params) == jax.tree.structure(eager)
    np.testing.assert_allclose(jax.jit(NET.apply)(params, X), NET.apply(eager, X), rtol=1e-6)


def test_vmap_over_members():
    keys = jax.random.split(KEY, 3)
    members = jax.vmap(lambda key: NET.init(key, 4))(keys)
    many = jax.vmap(NET.apply, in_axes=(0, None))(members, X)
    np.testing.assert_allclose(many[1], NET.apply(NET.init(keys[1], 4), X), rtol=1e-6)


def test_gradients_flow_to_the_parameters():
    params = NET.init(KEY, 4)
    grads = jax.grad(lambda p: NET.apply(p, X).sum())(params)
    assert jax.tree.structure(grads) == jax.tree.structure(params)
    np.testing.assert_allclose(grads["layers/1/bias"], np.ones(2))


def test_optax_trains_it():
    params, optimizer = NET.init(KEY, 4), optax.adam(1e-2)

    def loss(p):
        return (NET.apply(p, X) ** 2).sum()

    updates, _ = optimizer.update(jax.grad(loss)(params), optimizer.init(params), params)
    assert loss(optax.apply_updates(params, updates)) < loss(params)


def test_only_params_are_trained():
    net = from_flax(lambda width, rngs: Perceptron(width, rngs), frozen=["layers/1/bias"])
    trained = {path for path in PATHS if net.is_trainable(path)}
    assert trained == {"layers/0/bias", "layers/0/kernel", "layers/1/kernel", "norm/bias", "norm/scale"}


def test_laws_are_those_of_flax():
    widths = (16, 24, 32)
    bodies = [trace(functools.partial(lambda n, key: NET.init(key, n), n), KEY)[0] for n in widths]
    found = laws(bodies, PATHS, widths, untrained=lambda path: not NET.is_trainable(path))
    assert found["layers/0/kernel"].variance == Scale(1 / 3)
    assert found["layers/1/kernel"].variance == Scale(1.0, Fraction(-1))
    assert found["layers/1/bias"].mean == Scale(0.0)
    assert found["norm/scale"].mean == found["norm/var"].mean == Scale(1.0)
    np.testing.assert_allclose(found["table"].values[0], np.sin(np.arange(3.0)))


def test_random_streams_leave_no_trace():
    jaxpr = jax.make_jaxpr(NET.apply)(NET.init(KEY, 4), X)
    assert not {e.primitive.name for e in jaxpr.eqns} & {"random_seed", "random_wrap", "random_fold_in", "random_bits"}


def test_call_says_how_a_module_is_applied():
    net = from_flax(lambda width, rngs: nnx.Linear(3, width, rngs=rngs), call=lambda module, x: module(x[None])[0] * 2)
    plain = from_flax(lambda width, rngs: nnx.Linear(3, width, rngs=rngs))
    params = net.init(KEY, 4)
    np.testing.assert_allclose(net.apply(params, X), 2 * plain.apply(params, X))


def test_convolutions_take_one_example():
    net = from_flax(lambda width, rngs: nnx.Conv(1, width, (3, 3), rngs=rngs))
    assert net.apply(net.init(KEY, 4), jnp.ones((8, 8, 1))).shape == (8, 8, 4)


def test_raw_keys():
    assert list(NET.init(jax.random.PRNGKey(0), 4)) == PATHS


def test_laws_can_be_declared():
    law = normal(lambda n: 1 / math.sqrt(n))
    assert from_flax(lambda width, rngs: Perceptron(width, rngs), laws={"table": law}).laws == {"table": law}


def test_parameters_keep_their_structure():
    with pytest.raises(TypeError, match=r"must have the structure that `net.init` returns, a Parameters, got dict"):
        NET.apply(dict(NET.init(KEY, 4)), X)


def test_build_takes_width_and_rngs():
    with pytest.raises(TypeError, match=r"`build` must be like `wl.from_flax\(lambda width, rngs: .*, got .*\(width\)"):
        from_flax(lambda width: Perceptron(width, nnx.Rngs(0)))


def test_build_is_a_function():
    with pytest.raises(TypeError, match="takes a function that builds the model at a width"):
        from_flax(Perceptron(4, nnx.Rngs(0)).layers)


def test_build_returns_a_module():
    with pytest.raises(TypeError, match=r"`build` must return a Module of flax that is called as `model.x.`, got dict"):
        from_flax(lambda width, rngs: {}).init(KEY, 4)


def test_a_module_has_parameters():
    with pytest.raises(ValueError, match="returned no parameter"):
        from_flax(lambda width, rngs: nnx.Dropout(0.5, rngs=rngs)).init(KEY, 4)


def test_without_flax(monkeypatch):
    monkeypatch.setitem(sys.modules, "flax.nnx", None)
    with pytest.raises(ImportError, match=r"`wl.from_flax` needs flax: `pip install widelimit\[flax\]`"):
        from_flax(lambda width, rngs: Perceptron(width, rngs))
