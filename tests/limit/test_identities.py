"""Identities that hold for the kernels of any network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import networks
import widelimit as wl
from networks import drawn, readout, relu

X = np.random.default_rng(0).normal(size=(7, 10))
Y = np.random.default_rng(1).normal(size=(5, 10))


@functools.cache
def kernel():
    return wl.limit(networks.mlp(relu, layers=2), X[0])


@functools.cache
def square():
    return kernel()(X)


def tokens_network():
    """Outputs at all positions, two copies of each."""

    def apply(params, x):
        return readout(params, relu(x @ params["w"] + params["b"]))

    return wl.Network(drawn(lambda n: {"w": (2, n), "b": (n,), "v": (n, 2)}), apply)


TOKENS = np.random.default_rng(2).normal(size=(4, 3, 2))


@functools.cache
def tokens_kernel():
    return wl.limit(tokens_network(), TOKENS[0])


def close(got, expected, tolerance=1e-12):
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


# --- Gram matrices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_symmetric_and_the_same_with_both_sides_given(kind):
    whole = np.asarray(getattr(square(), kind))
    np.testing.assert_array_equal(whole, whole.T)
    close(whole, getattr(kernel()(X, X), kind))


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_positive_semi_definite_to_rounding(kind):
    repeated = np.concatenate([X, X[:2], -X[:2], 0 * X[:1]])
    values = np.linalg.eigvalsh(getattr(kernel()(repeated), kind))
    assert values.min() > -1e-12 * values.max()


def test_an_entry_is_a_pair():
    entry = kernel().pair(X[2], X[5])
    close(entry.nngp, square().nngp[2, 5])
    close(entry.ntk, square().ntk[2, 5])


def test_the_diagonal():
    diagonal = kernel().diagonal(X)
    close(diagonal.nngp, np.diag(square().nngp))
    close(diagonal.ntk, np.diag(square().ntk))


def test_each_kernel_alone():
    close(kernel().nngp(X), square().nngp)
    close(kernel().ntk(X, Y), kernel()(X, Y).ntk)


@pytest.mark.parametrize("budget", [1e-9, 3e-6])
def test_tiles_do_not_change_results(budget):
    """A budget of a byte makes tiles of one pair."""
    close(kernel()(X, budget=budget).ntk, square().ntk)
    close(kernel()(X, Y, budget=budget).nngp, kernel()(X, Y).nngp)


def test_tiles_of_outputs_with_positions():
    close(tokens_kernel()(TOKENS, budget=1e-9).ntk, tokens_kernel()(TOKENS).ntk)


def test_the_order_of_examples_does_not_matter():
    order = np.array([4, 1, 6, 0, 5, 2, 3])
    close(kernel()(X[order]).ntk, np.asarray(square().ntk)[np.ix_(order, order)])


def test_finite_output_axes_come_last():
    k = tokens_kernel()
    whole = k(TOKENS).ntk
    assert k.replica_axes == (1,)
    assert whole.shape == (4, 4, 3, 3)
    assert k(TOKENS, TOKENS[:2]).nngp.shape == (4, 2, 3, 3)
    assert k.diagonal(TOKENS).ntk.shape == (4, 3, 3)
    close(whole, np.transpose(whole, (1, 0, 3, 2)))
    close(whole[1, 2], k.pair(TOKENS[1], TOKENS[2]).ntk)


def test_positions_of_independent_tokens_are_inputs():
    """A network applied token by token: positions are examples."""
    alone = wl.limit(tokens_network(), TOKENS[0, 0])(TOKENS[0], TOKENS[1])
    close(tokens_kernel().pair(TOKENS[0], TOKENS[1]).ntk, alone.ntk)


def test_one_example():
    assert kernel()(X[:1]).ntk.shape == (1, 1)


def test_a_pytree_of_inputs():
    def apply(params, x):
        return readout(params, relu(x["a"] @ params["w"] + x["b"][0] * params["b"]))

    net = wl.Network(drawn(lambda n: {"w": (3, n), "b": (n,), "v": (n, 1)}), apply)
    k = wl.limit(net, {"a": np.zeros(3), "b": (np.zeros(()),)})
    joined = wl.limit(
        wl.Network(drawn(lambda n: {"w": (4, n), "v": (n, 1)}), lambda p, x: readout(p, relu(x @ p["w"]))), np.zeros(4)
    )
    x = np.random.default_rng(0).normal(size=(3, 4))
    close(k({"a": x[:, :3], "b": (x[:, 3],)}).ntk, joined(x).ntk)


def test_lists_and_numpy_and_jax_are_the_same():
    close(kernel()(X.tolist()).ntk, square().ntk)
    close(kernel()(jnp.asarray(X)).ntk, square().ntk)


def test_the_example_may_be_a_shape():
    by_shape = wl.limit(networks.mlp(relu, layers=2), jax.ShapeDtypeStruct((10,), jnp.float64))
    close(by_shape.pair(X[0], X[1]).ntk, square().ntk[0, 1])


# --- the pair is a pure function ----------------------------------------------------------------------------------------------


def test_jit_and_vmap():
    mapped = jax.jit(jax.vmap(kernel().pair))(X[:5], Y)
    close(mapped.ntk, np.diagonal(kernel()(X[:5], Y).ntk))


def test_the_gradient_is_the_difference_quotient():
    direction, step = np.random.default_rng(3).normal(size=10), 1e-5

    def theta(t):
        return kernel().pair(X[0] + t * direction, X[1]).ntk

    close(jax.jit(jax.grad(theta))(0.0), (theta(step) - theta(-step)) / (2 * step), 1e-8)


# --- learning rates -----------------------------------------------------------------------------------------------------------


def shallow(**options):
    net = wl.Network(
        drawn(lambda n: {"w": (10, n), "b": (n,), "v": (n, 1)}),
        lambda p, x: readout(p, jax.scipy.special.erf(x @ p["w"] / jnp.sqrt(10) + p["b"])),
    )
    return wl.limit(net, X[0], **options)


def test_shares_add_up():
    shares = shallow().ntk_by_weight(X, Y)
    assert shares.keys() == {"w", "b", "v"}
    close(sum(shares.values()), shallow().ntk(X, Y))


def test_the_share_of_the_readout_is_the_nngp():
    close(shallow().ntk_by_weight(X)["v"], shallow().nngp(X))


def test_a_rate_of_zero_freezes():
    shares = shallow().ntk_by_weight(X)
    frozen = shallow(learning_rates={"w": 0})
    close(frozen.ntk(X), shares["b"] + shares["v"])
    assert frozen.ntk_by_weight(X).keys() == {"b", "v"}


def test_rates_scale_shares():
    shares = shallow().ntk_by_weight(X)
    close(shallow(learning_rates={"w": 0.5, "b": 3.0}).ntk(X), 0.5 * shares["w"] + 3.0 * shares["b"] + shares["v"])


def test_all_frozen():
    k = shallow(learning_rates=0)
    np.testing.assert_array_equal(k.ntk(X), np.zeros((7, 7)))
    assert k.ntk_by_weight(X) == {}
    close(k.nngp(X), shallow().nngp(X))


def test_a_network_may_freeze_parameters():
    net = wl.Network(
        drawn(lambda n: {"w": (10, n), "v": (n, 1)}), lambda p, x: readout(p, relu(x @ p["w"])), frozen=["w"]
    )
    k = wl.limit(net, X[0])
    close(k.ntk(X), k.nngp(X))


def test_zero_weights_are_trained_at_a_rate():
    """f = 0 at the start, yet it learns: the NTK of the readout is E φφ'."""

    def init(key, width):
        return {"w": jax.random.normal(key, (10, width)), "v": jnp.zeros((width, 1))}

    net = wl.Network(init, lambda p, x: readout(p, relu(x @ p["w"])))
    drawn_too = wl.Network(drawn(lambda n: {"w": (10, n), "v": (n, 1)}), lambda p, x: readout(p, relu(x @ p["w"])))
    k = wl.limit(net, X[0], learning_rates=1.0)
    np.testing.assert_array_equal(k.nngp(X), np.zeros((7, 7)))
    close(k.ntk(X), wl.limit(drawn_too, X[0]).nngp(X))


@pytest.mark.slow
def test_rate_one_is_the_jacobian_times_its_transpose():
    """In NTK parametrisation, against one wide network of each of a few seeds."""
    net = networks.mlp(jnp.tanh, layers=2)
    limit = wl.limit(net, X[0], learning_rates=1.0).ntk(X)

    def finite(key):
        params = net.init(key, 512)
        jacobian = jax.jacobian(lambda p: jax.vmap(lambda x: net.apply(p, x)[0])(X))(params)
        return sum((j := leaf.reshape(7, -1)) @ j.T for leaf in jacobian.values())

    draws = np.stack([finite(key) for key in jax.random.split(jax.random.key(0), 6)])
    error = draws.std(0, ddof=1) / np.sqrt(6) + 0.01 * np.abs(limit)
    assert (np.abs(draws.mean(0) - limit) / error).max() < 4


# --- one network, several spellings ---------------------------------------------------------------------------------------------


def two_layers(scale_in_init, left):
    """2/fan_in and 1/fan_in, in `init` or in `apply`; weights from the left or the right."""

    def shapes(n):
        table = {"w": (10, n), "u": (n, n), "v": (n, 1)}
        return {name: shape[::-1] if left else shape for name, shape in table.items()}

    def init(key, width):
        params = drawn(shapes)(key, width)
        variances = {"w": 2 / 10, "u": 2 / width, "v": 1 / width}
        return {k: jnp.sqrt(variances[k]) * v if scale_in_init else v for k, v in params.items()}

    def product(w, h, gain):
        scale = 1.0 if scale_in_init else jnp.sqrt(gain / h.shape[0])
        return scale * (w @ h if left else h @ w)

    def apply(p, x):
        h = relu(product(p["w"], x, 2.0))
        return product(p["v"], relu(product(p["u"], h, 2.0)), 1.0)

    return wl.limit(wl.Network(init, apply), X[0])


@pytest.mark.parametrize("scale_in_init", [True, False])
@pytest.mark.parametrize("left", [True, False])
def test_scales_and_orders_are_conventions(scale_in_init, left):
    k, reference = two_layers(scale_in_init, left), two_layers(False, False)
    for got, expected in zip(k.pair(X[0], X[1]), reference.pair(X[0], X[1]), strict=True):
        close(got, expected)


# --- precision ------------------------------------------------------------------------------------------------------------------


def test_float32_agrees_with_float64():
    single = kernel()(X.astype(np.float32))
    assert single.nngp.dtype == single.ntk.dtype == np.float32
    close(single.nngp, square().nngp, 1e-5)
    close(single.ntk, square().ntk, 2e-6)


def test_sides_of_two_precisions():
    close(kernel()(X, Y.astype(np.float32)).ntk, kernel()(X, Y).ntk, 1e-5)
