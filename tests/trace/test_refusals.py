"""What has no limit is refused with the place, the reason and the way out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import widelimit as wl
from networks import drawn, eqx_dense, eqx_readout, flax_dense, flax_readout, readout, relu

X = np.array([0.5, -1.0, 2.0])
TOKENS = np.random.default_rng(0).normal(size=(4, 3))


def network(apply, **shapes):
    """Parameters w (3, n), u (n, n), b (n), v (n, 1), or those given."""
    table = {"w": lambda n: (3, n), "u": lambda n: (n, n), "b": lambda n: (n,), "v": lambda n: (n, 1)} | shapes
    return wl.Network(drawn(lambda n: {name: shape(n) for name, shape in table.items()}), apply)


def refused(apply, text, x=X, **shapes):
    with pytest.raises(wl.Refusal, match=text):
        wl.limit(network(apply, **shapes), x)


# --- attention ------------------------------------------------------------------------------------------------------------


def attention(scale, heads):
    def apply(params, x):
        q, k, h = ((x @ params[name]).reshape(len(x), heads, -1) for name in ("q", "k", "w"))
        weights = jax.nn.softmax(jnp.einsum("ahd,bhd->hab", q, k) * scale(q.shape[-1]))
        return readout(params, jnp.einsum("hab,bhd->ahd", weights, h).reshape(len(x), -1))

    wide = {name: lambda n: (3, 2 * n) for name in ("q", "k", "w")}
    return wl.limit(network(apply, **wide, v=lambda n: (2 * n, 1)), TOKENS)


@pytest.mark.parametrize("heads", [1, 2])
def test_logits_over_the_square_root(heads):
    with pytest.raises(wl.Refusal) as refusal:
        attention(lambda d: d**-0.5, heads)
    text = str(refusal.value)
    assert "n^1/2" in text
    assert "not a Gaussian process" in text
    assert "Two ways out: scale by 1/n (logits q·k/d), or" in text
    assert "test_refusals.py" in text


@pytest.mark.parametrize("heads", [1, 2])
def test_logits_over_the_size_are_read(heads):
    assert attention(lambda d: 1 / d, heads)


# --- exponents ------------------------------------------------------------------------------------------------------------


def test_a_layer_that_diverges():
    refused(
        lambda p, x: readout(p, relu(relu(x @ p["w"]) @ p["u"])),
        r"test_refusals.py.*grows like n\^1/2 .* diverges.*exponent 1, and must have 0: multiply the product by n\^\(-1/2\)",
    )


def test_a_layer_that_vanishes():
    refused(
        lambda p, x: readout(p, relu(relu(x @ p["w"]) @ p["u"] / len(p["u"]))),
        r"test_refusals.py.*shrinks like n\^-1/2 .* vanishes.*exponent -1, and must have 0: multiply the product by n\^\(1/2\)",
    )


def test_an_output_that_diverges():
    refused(
        lambda p, x: relu(x @ p["w"]) @ p["v"], r"output scales like n\^1/2 .* diverges.*test_refusals.py.*n\^\(-1/2\)"
    )


def test_an_output_that_vanishes():
    refused(lambda p, x: relu(x @ p["w"]) @ p["v"] / len(p["v"]), r"output scales like n\^-1/2 .* vanishes")


def test_an_output_averaged_over_the_width():
    refused(lambda p, x: relu(x @ p["w"]).mean(), r"deterministic in the limit.*readout")


def standard(width, rngs):
    layers = [nnx.Linear(3, width, rngs=rngs), nnx.relu, nnx.Linear(width, width, rngs=rngs), nnx.relu]
    return nnx.Sequential(*layers, nnx.Linear(width, 1, rngs=rngs))


def test_rates_that_diverge():
    with pytest.raises(
        wl.Refusal,
        match=r"`wl.limit\(..., learning_rates=1.0\)`: the tangent kernel diverges.*'layers/2/kernel'.*\"ntk\"",
    ):
        wl.limit(wl.from_flax(standard), X, learning_rates=1.0)


def test_rates_of_an_unknown_parameter():
    with pytest.raises(ValueError, match=r"learning_rates=...\)`: there is no parameter 'w1'; did you mean 'w'\?"):
        wl.limit(network(lambda p, x: readout(p, x @ p["w"])), X, learning_rates={"w1": 0})


@pytest.mark.parametrize("rate", [-1.0, np.nan, np.inf])
def test_rates_that_are_no_rates(rate):
    with pytest.raises(ValueError, match="expected a finite number that is not negative"):
        wl.limit(network(lambda p, x: readout(p, x @ p["w"])), X, learning_rates={"w": rate})


def test_rates_by_a_word():
    with pytest.raises(ValueError, match="has 'sgd'; expected \"ntk\" or a number"):
        wl.limit(network(lambda p, x: readout(p, x @ p["w"])), X, learning_rates="sgd")


# --- randomness -----------------------------------------------------------------------------------------------------------

RANDOM = r"random numbers are drawn while the network is applied \(dropout, noise\).*evaluation mode"


def test_noise():
    def apply(p, x):
        return readout(p, relu(x @ p["w"] + jax.random.normal(jax.random.key(0), p["b"].shape)))

    refused(apply, "test_refusals.py.*" + RANDOM)


class FlaxDropout(nnx.Module):
    def __init__(self, width, deterministic, rngs):
        self.first, self.last = flax_dense(3, width, rngs), flax_readout(width, rngs)
        self.dropout = nnx.Dropout(0.5, deterministic=deterministic, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.first(x))))


def test_dropout_of_flax():
    with pytest.raises(wl.Refusal, match=RANDOM):
        wl.limit(wl.from_flax(lambda width, rngs: FlaxDropout(width, False, rngs)), X)


def test_dropout_of_flax_in_evaluation_mode():
    assert wl.limit(wl.from_flax(lambda width, rngs: FlaxDropout(width, True, rngs)), X)


class EquinoxDropout(eqx.Module):
    first: eqx.nn.Linear
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, width, key):
        k1, k2 = jax.random.split(key)
        self.first, self.last = eqx_dense(3, width, k1), eqx_readout(width, k2)
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, inference):
        return self.last(self.dropout(relu(self.first(x)), key=jax.random.key(0), inference=inference))


def equinox_dropout(inference):
    return wl.limit(wl.from_equinox(EquinoxDropout, call=lambda model, x: model(x, inference)), X)


def test_dropout_of_equinox():
    with pytest.raises(wl.Refusal, match=RANDOM):
        equinox_dropout(False)


def test_dropout_of_equinox_in_evaluation_mode():
    assert equinox_dropout(True)


def test_a_law_that_is_not_normal_is_warned_of():
    net = wl.from_equinox(lambda width, key: eqx.nn.MLP(3, 1, width, 1, use_bias=False, use_final_bias=False, key=key))
    with pytest.warns(
        UserWarning, match="'layers/0/weight' is drawn from a uniform law and summed over 3 entries of the input"
    ):
        assert wl.limit(net, X)


# --- operations -------------------------------------------------------------------------------------------------------------

UNREAD = {
    "fft": lambda p, x: readout(p, jnp.fft.fft(x @ p["w"]).real),
    "svd": lambda p, x: readout(p, jnp.linalg.svd(p["u"], compute_uv=False)),
    "sort": lambda p, x: readout(p, jnp.sort(x @ p["w"])),
    "reduce_max": lambda p, x: readout(p, x @ p["w"] - jnp.max(x @ p["w"])),
    "cumulative sum": lambda p, x: readout(p, jnp.cumsum(x @ p["w"])),
    "branch": lambda p, x: readout(p, lax.cond(x[0] > 0, relu, jnp.sin, x @ p["w"])),
    "`while` loop": lambda p, x: readout(
        p, lax.while_loop(lambda h: (h**2).mean() < 10.0, lambda h: 2 * h, x @ p["w"])
    ),
    "stop_gradient": lambda p, x: readout(p, lax.stop_gradient(relu(x @ p["w"]))),
    "varies along an axis that grows": lambda p, x: readout(p, x @ p["w"] + jnp.arange(p["w"].shape[1])),
    "reversing iid coordinates": lambda p, x: readout(p, x @ p["w"] + jnp.flip(x @ p["w"])),
    "outer product of widths": lambda p, x: readout(p, jnp.outer(x @ p["w"], x @ p["w"]) @ p["b"]),
    "padding with something other than zeros": lambda p, x: readout(
        p, jnp.pad(x[:, None] @ p["w"][:1], ((1, 1), (0, 0)), constant_values=1.0)
    ),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_step_without_a_rule_names_the_line(name):
    refused(UNREAD[name], rf"test_refusals.py:\d+.*{name}|{name}.*test_refusals.py:\d+")


def test_a_readout_that_is_the_embedding():
    def apply(p, x):
        return relu(x @ p["w"]) @ p["w"].T / jnp.sqrt(len(p["u"]))

    refused(apply, r"'w' embeds at .*test_refusals.py.* and is the readout .*test_refusals.py")


def test_a_matrix_that_is_also_a_vector():
    def apply(p, x):
        return readout(p, relu(relu(x @ p["w"]) + p["v"][:, 0]))

    refused(apply, r"'v' is used in two ways at .*test_refusals.py.* and .*networks.py")


def test_a_jump_between_a_matrix_and_its_transpose():
    def apply(p, x):
        h = jnp.sign(x @ p["w"] @ p["u"] / jnp.sqrt(len(p["u"])))
        return readout(p, relu(h @ p["u"].T / jnp.sqrt(len(p["u"]))))

    refused(apply, r"test_refusals.py.*a discontinuous function between a matrix and its transpose")


def test_a_product_of_weights():
    refused(
        lambda p, x: readout(p, x @ p["w"] @ (p["u"] @ p["u"])),
        r"test_refusals.py.*product of two parameters \('u' and 'u'\)",
    )


def test_a_random_number_for_all():
    refused(
        lambda p, x: readout(p, relu(p["g"] * (x @ p["w"]))),
        r"test_refusals.py:\d+.*the parameter 'g' holds random or trained numbers.*not a Gaussian process.*`learning_rates={'g': 0}`",
        g=lambda n: (),
    )


def scaled(apply, **arguments):
    """The limit of a network with a number `t` that starts at one."""
    body = drawn(lambda n: {"w": (3, n), "u": (n, n), "v": (n, 1)})
    return wl.limit(wl.Network(lambda key, n: body(key, n) | {"t": jnp.ones(())}, apply), **arguments)


def residual_gate(p, x):
    h = x @ p["w"]
    return readout(p, h + p["t"] * relu(h))


NUMBERS = {
    "residual gate": (residual_gate, X),
    "shift": (lambda p, x: readout(p, relu(x @ p["w"] + p["t"])), X),
    "temperature of the output": (lambda p, x: readout(p, relu(x @ p["w"])) / p["t"], X),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_trained(name):
    """Its tangent kernel is random; frozen, it is a number like others."""
    apply, example = NUMBERS[name]
    with pytest.raises(wl.Refusal, match=r"test_refusals.py:\d+.*"):
        scaled(apply, example=example, learning_rates={"t": 1.0})
    assert scaled(apply, example=example)


def test_a_trained_bias_of_the_output():
    """It is a random number for all, but adds to the output."""
    frozen, trained = (
        scaled(lambda p, x: readout(p, relu(x @ p["w"])) + p["t"], example=X, learning_rates={"t": rate})
        for rate in (0.0, 2.0)
    )
    np.testing.assert_allclose(trained(X[None]).ntk - frozen(X[None]).ntk, 2.0, rtol=1e-12)


def gated(scale):
    """A mixture of two experts whose gate sees a hidden layer."""

    def apply(p, x):
        h = relu(x @ p["w"])
        gate = jax.nn.softmax(h @ p["gate"] * scale(h.size))
        return readout(p, jnp.einsum("e,ei->i", gate, jnp.einsum("i,eij->ej", h, p["experts"]) / h.size**0.5))

    return network(apply, gate=lambda n: (n, 2), experts=lambda n: (2, n, n))


def test_experts_mixed_by_random_gates():
    with pytest.raises(
        wl.Refusal, match=r"random numbers made at .* from the parameters 'gate' are shared by every coordinate"
    ):
        wl.limit(gated(lambda n: n**-0.5), X)


def test_experts_mixed_by_averages():
    """Logits of order n^{-1/2} vanish, and the experts are averaged: half the variance of one."""
    mixed = wl.limit(gated(lambda n: 1 / n), X)(X[None])
    one = wl.limit(network(lambda p, x: readout(p, relu(x @ p["w"]) @ p["u"] / len(p["u"]) ** 0.5)), X)(X[None])
    np.testing.assert_allclose(mixed.nngp, one.nngp / 2, rtol=1e-12)
    np.testing.assert_allclose(mixed.ntk, one.ntk / 2, rtol=1e-12)


def test_an_adapter_that_starts_at_zero():
    """x (W + A B) with B = 0 of rank two: nothing is added while B is frozen; trained, its tangent kernel is random."""

    def limit(rates):
        body = drawn(lambda n: {"w": (3, n), "u": (n, n), "v": (n, 1), "a": (n, 2)})

        def apply(p, x):
            h = relu(x @ p["w"])
            return readout(p, relu(h @ p["u"] / h.size**0.5 + (h @ p["a"] / h.size**0.5) @ p["b"]))

        net = wl.Network(lambda key, n: body(key, n) | {"b": jnp.zeros((2, n))}, apply)
        return wl.limit(net, X, learning_rates=rates)

    assert limit("ntk")
    with pytest.raises(wl.Refusal, match=r"the weight 'b' sums over only 2 coordinates.*a bottleneck"):
        limit({"b": 1.0})


# --- sizes ------------------------------------------------------------------------------------------------------------------


def test_a_bottleneck():
    def apply(p, x):
        h = relu(x @ p["w"]) @ p["down"] / jnp.sqrt(p["down"].shape[0])
        return readout(p, relu(relu(h) @ p["up"]))

    refused(
        apply,
        r"test_refusals.py.*'up' sums over only 5 coordinates.*bottleneck",
        down=lambda n: (n, 5),
        up=lambda n: (5, n),
    )


def test_no_axis_scales_with_the_width():
    net = wl.Network(drawn(lambda n: {"w": (3, 16), "v": (16, 1)}), lambda p, x: readout(p, relu(x @ p["w"])))
    with pytest.raises(wl.Refusal, match=r"no axis of the network grows with the width"):
        wl.limit(net, X)


def test_a_depth_that_depends_on_the_width():
    def apply(p, x):
        h = x @ p["w"]
        for _ in range(p["w"].shape[1] // 64):
            h = relu(h)
        return readout(p, h)

    with pytest.raises(ValueError, match="program is not the same at every width"):
        wl.limit(network(apply), X)


# --- outputs ------------------------------------------------------------------------------------------------------------------


def test_an_output_that_is_not_gaussian():
    refused(
        lambda p, x: relu(readout(p, x @ p["w"])),
        r"function of Gaussians \(made at .*test_refusals.py.*not a Gaussian",
    )


def test_two_outputs():
    refused(lambda p, x: (readout(p, x @ p["w"]), x), "returns 2 arrays; the limit is of one output")


# --- inputs -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel():
    return wl.limit(network(lambda p, x: readout(p, relu(x @ p["w"]))), X)


BAD = {
    r"got an array of shape \(4, 2\); expected \(N, 3\)": np.ones((4, 2)),
    r"got an array of shape \(3,\); expected \(N, 3\)": np.ones(3),
    r"got an array of dtype int64; expected floating point": np.ones((4, 3), int),
    r"got an array of dtype complex128; expected real numbers": np.ones((4, 3), complex),
    r"dtype .*; expected real numbers": np.array([["a", "b", "c"]]),
    r"NaN or infinite values \(examples \[1\]\)": np.array([[1.0, 2.0, 3.0], [np.nan, 0.0, 0.0]]),
    r"NaN or infinite values \(examples \[0\]\)": np.array([[np.inf, 2.0, 3.0]]),
    r"the batch is empty; expected at least one input": np.ones((0, 3)),
}


@pytest.mark.parametrize("text", BAD)
def test_inputs_that_do_not_fit(kernel, text):
    with pytest.raises((ValueError, TypeError), match=r"`kernel\(x1, x2\)`: .*" + text):
        kernel(BAD[text])
    with pytest.raises((ValueError, TypeError), match=text):
        kernel.diagonal(BAD[text])
    with pytest.raises((ValueError, TypeError), match=text):
        kernel(np.ones((2, 3)), BAD[text])


def test_a_pair_with_a_batch_axis(kernel):
    with pytest.raises(ValueError, match=r"`kernel.pair\(x, xp\)`: got an input of shape \(1, 3\); expected \(3,\)"):
        kernel.pair(np.ones((1, 3)), X)


def test_an_example_that_holds_nothing():
    with pytest.raises(ValueError, match="the example holds no array"):
        wl.limit(network(lambda p, x: readout(p, p["b"])), ())


def test_an_example_of_text():
    with pytest.raises(ValueError, match="the example has dtype <U3; expected real numbers"):
        wl.limit(network(lambda p, x: readout(p, x @ p["w"])), "abc")


@pytest.mark.parametrize("widths", [(64, 128), (128, 64, 32), (1, 2, 3)])
def test_widths_to_trace_at(widths):
    with pytest.raises(ValueError, match=r"widths=.*at least three increasing widths"):
        wl.limit(network(lambda p, x: readout(p, x @ p["w"])), X, widths=widths)


@pytest.mark.parametrize("accuracy", [0.0, 1.0, -1.0])
def test_an_accuracy_that_is_none(accuracy):
    with pytest.raises(ValueError, match="expected a relative error between 0 and 1"):
        wl.limit(network(lambda p, x: readout(p, x @ p["w"])), X, accuracy=accuracy)


def test_what_is_no_network():
    with pytest.raises(TypeError, match=r"expected a `wl.Network`.*got function"):
        wl.limit(lambda x: x, X)
