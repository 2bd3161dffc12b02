"""Networks written as equinox modules."""

import functools
import sys
from collections.abc import Callable
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from widelimit.network import from_equinox
from widelimit.trace._jaxpr import trace
from widelimit.trace._laws import laws
from widelimit.trace._scale import Scale

KEY = jax.random.key(0)
X = jnp.array([1.0, -2.0, 0.5])


class Perceptron(eqx.Module):
    """Arrays among leaves of every other kind."""

    layers: list
    activation: Callable
    scale: float
    order: jax.Array
    name: str = eqx.field(static=True)

    def __init__(self, width, key):
        first, second = jax.random.split(key)
        self.layers = [eqx.nn.Linear(3, width, key=first), eqx.nn.Linear(width, 2, key=second)]
        self.activation = jax.nn.relu
        self.scale = 0.5
        self.order = jnp.array([2, 0, 1])
        self.name = "perceptron"

    def __call__(self, x):
        return self.scale * self.layers[1](self.activation(self.layers[0](x[self.order])))


NET = from_equinox(lambda width, key: Perceptron(width, key=key))
PATHS = ["layers/0/weight", "layers/0/bias", "layers/1/weight", "layers/1/bias", "order"]


def paths_of(tree):
    return [
        jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]


@pytest.mark.parametrize("width", [2, 16])
def test_parameters_are_named_by_their_paths(width):
    params = NET.init(KEY, width)
    assert paths_of(params) == list(params) == PATHS
    assert params["layers/0/weight"].shape == (width, 3)


@pytest.mark.parametrize("width", [2, 16])
def test_the_same_numbers_as_the_module(width):
    np.testing.assert_allclose(NET.apply(NET.init(KEY, width), X), Perceptron(width, KEY)(X), rtol=1e-6)


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


MLP = from_equinox(lambda width, key: eqx.nn.MLP(3, 2, width, 2, key=key))


def test_gradients_flow_to_the_parameters():
    params = MLP.init(KEY, 4)
    grads = jax.grad(lambda p: MLP.apply(p, X).sum())(params)
    np.testing.assert_allclose(grads["layers/2/bias"], np.ones(2))


def test_optax_trains_it():
    params, optimizer = MLP.init(KEY, 4), optax.adam(1e-2)

    def loss(p):
        return (MLP.apply(p, X) ** 2).sum()

    updates, _ = optimizer.update(jax.grad(loss)(params), optimizer.init(params), params)
    assert loss(optax.apply_updates(params, updates)) < loss(params)


def test_whole_numbers_are_not_trained():
    net = from_equinox(lambda width, key: Perceptron(width, key=key), frozen=lambda path: path.endswith("bias"))
    assert {path for path in PATHS if net.is_trainable(path)} == {"layers/0/weight", "layers/1/weight"}


def test_laws_are_those_of_equinox():
    """Uniform between ±1/√fan_in: the variance 1/(3 fan_in)."""
    widths = (16, 24, 32)
    bodies = [trace(functools.partial(lambda n, key: NET.init(key, n), n), KEY)[0] for n in widths]
    found = laws(bodies, PATHS, widths)
    assert found["layers/0/weight"].variance == Scale(1 / 9)
    assert found["layers/1/weight"].variance == found["layers/1/bias"].variance == Scale(1 / 3, Fraction(-1))
    assert found["layers/0/bias"].kind == "uniform"
    np.testing.assert_array_equal(found["order"].values[0], [2, 0, 1])


def test_call_says_how_a_module_is_applied():
    net = from_equinox(lambda width, key: Perceptron(width, key), call=lambda module, x: module(x) / module.scale)
    params = net.init(KEY, 4)
    np.testing.assert_allclose(net.apply(params, X), 2 * NET.apply(params, X), rtol=1e-6)


def test_parameters_keep_their_structure():
    with pytest.raises(TypeError, match=r"must have the structure that `net.init` returns, a Parameters, got dict"):
        NET.apply(dict(NET.init(KEY, 4)), X)


def test_build_takes_width_and_key():
    with pytest.raises(
        TypeError, match=r"`build` must be like `wl.from_equinox\(lambda width, key: .*, got .*\(width\)"
    ):
        from_equinox(lambda width: Perceptron(width, KEY))


def test_build_returns_a_module():
    with pytest.raises(TypeError, match=r"`build` must return a Module of equinox .* got tuple"):
        from_equinox(lambda width, key: (Perceptron(width, key), None)).init(KEY, 4)


def test_a_module_has_arrays():
    with pytest.raises(ValueError, match="returned no parameter"):
        from_equinox(lambda width, key: eqx.nn.Dropout(0.5)).init(KEY, 4)


def test_without_equinox(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(ImportError, match=r"`wl.from_equinox` needs equinox: `pip install widelimit\[equinox\]`"):
        from_equinox(lambda width, key: Perceptron(width, key))
