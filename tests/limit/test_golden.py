"""The kernels of other programs, from networks written as plain functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import networks
import references
import widelimit as wl


@pytest.mark.parametrize("name", networks.GOLDEN)
def test_kernels_of_neural_tangents(golden, name):
    nngp, ntk = networks.golden_errors(golden("kernels.npz"), name, "plain")
    assert nngp < 1e-10
    assert ntk < 1e-10


# --- references of the Tensor Programs papers: parameters ω ~ N(0, σ²) trained at rate 1, scales in `apply` -------------------


def case(golden, name):
    book = golden("tensor_programs.json")
    found = next(c for c in book["cases"] if c["id"] == name)
    return found, np.array(book["inputs"]["x_2x5x3"])


def recurrent(unroll=False):
    """s^t = erf(W s^{t-1} + U ξ^t + b), f = v · mean_t s^t."""

    def shapes(width):
        return {"w": (width, width), "u": (3, width), "b": (width,), "v": (width, 1)}

    def apply(params, x):
        def step(s, xi):
            s = jax.scipy.special.erf(
                s @ params["w"] / jnp.sqrt(s.shape[0]) + xi @ params["u"] / jnp.sqrt(xi.shape[0]) + params["b"]
            )
            return s, s

        start = jnp.zeros_like(params["b"])
        if unroll:
            states = []
            for xi in x:
                start, _ = step(start, xi)
                states.append(start)
            mean = sum(states) / len(states)
        else:
            _, states = jax.lax.scan(step, start, x)
            mean = states.mean(0)
        return networks.readout(params, mean)

    variances = {"w": 1.0, "u": 2.0, "b": 0.2, "v": 1.0}
    return wl.Network(networks.drawn(shapes, variances.get), apply)


@pytest.mark.parametrize("unroll", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["scan", "unrolled"])
def test_recurrent_network(golden, unroll):
    expected, x = case(golden, "rnn_erf_avgpool_ntk")
    kernels = wl.limit(recurrent(unroll), x[0], learning_rates=1.0)(x)
    assert networks.relative(kernels.nngp, np.array(expected["nngp"])) < 1e-6
    assert networks.relative(kernels.ntk, np.array(expected["ntk"])) < 1e-6


def transformer():
    """Self-attention with q = k = v, LayerNorm, a two-layer block, LayerNorm, mean over tokens."""

    def shapes(width):
        return {"u": (3, width), "w1": (width, width), "w2": (width, width), "v": (width, 1)}

    def apply(params, x):
        def product(h, w):
            return h @ w / jnp.sqrt(h.shape[-1])

        k = product(x, params["u"])
        y = k + jax.nn.softmax(k @ k.T / k.shape[-1]) @ k
        z = networks.layer_norm(y, 0.0)
        h = product(networks.relu(product(z, params["w1"])), params["w2"])
        return networks.readout(params, networks.layer_norm(h + z, 0.0).mean(0))

    return wl.Network(networks.drawn(shapes), apply)


def test_transformer(golden):
    expected, x = case(golden, "transformer_ntk_depth1")
    kernels = wl.limit(transformer(), x[0])(x)
    assert networks.relative(kernels.nngp, np.array(expected["nngp"])) < 1e-4
    assert networks.relative(kernels.ntk, np.array(expected["ntk"])) < 1e-4


def signal_cnn(layers, readout):
    """Three taps, zero padding, ReLU; the variance of a tap is 2/channels."""

    def shapes(width):
        sizes = [3] + [width] * layers
        taps = {f"w{i}": (3, sizes[i], width) for i in range(layers)}
        return taps | {"v": (width, 1) if readout == "gap" else (5 * width, 1)}

    def apply(params, x):
        h = x
        for i in range(layers):
            product = jax.lax.conv_general_dilated(
                h[None], params[f"w{i}"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
            )[0]
            h = networks.relu(product / jnp.sqrt(h.shape[-1]))
        return networks.readout(params, h.mean(0) if readout == "gap" else h.reshape(-1))

    return wl.Network(networks.drawn(shapes, lambda name: 1.0 if name == "v" else 2.0), apply)


@pytest.mark.parametrize(
    ("layers", "readout"), [(1, "vec"), (2, "gap"), pytest.param(1, "gap", marks=pytest.mark.slow)]
)
def test_one_dimensional_cnn(golden, layers, readout):
    expected, x = case(golden, f"cnn1d_relu_L{layers}_{readout}")
    kernels = wl.limit(signal_cnn(layers, readout), x[0], learning_rates=1.0)(x)
    assert networks.relative(kernels.nngp, np.array(expected["nngp"])) < 1e-9
    assert networks.relative(kernels.ntk, np.array(expected["ntk"])) < 1e-9


@pytest.mark.parametrize("norm", [0.0, 0.5, 2.0])
def test_two_hidden_layers_by_hand(norm):
    """All variances one and biases trained: Θ(x, x) = ¾ |x|²/m + 7/4."""

    def apply(params, x):
        h = x
        for i in range(2):
            h = networks.relu(h @ params[f"w{i}"] / jnp.sqrt(h.shape[-1]) + params[f"b{i}"])
        return networks.readout(params, h)

    net = wl.Network(networks.drawn(networks.dense_shapes(4, 2)), apply)
    x = np.array([norm, 0.0, 0.0, 0.0])
    pair = jax.jit(wl.limit(net, x).pair)
    np.testing.assert_allclose(pair(x, x).ntk, 0.75 * norm**2 / 4 + 1.75, rtol=1e-12)


@pytest.mark.slow
def test_sequences_of_different_length(golden):
    expected, inputs = references.case(golden, "rnn_erf_glove_varlen_var_w1")
    x = references.sentences(inputs)
    ntk = wl.limit(references.recurrent(every_state=False), example(x), learning_rates=1.0).ntk(x)
    assert networks.relative(ntk, np.array(expected["ntk"])) < 1e-9


@pytest.mark.slow
def test_every_state_of_sequences_of_different_length(golden):
    expected, inputs = references.case(golden, "rnn_erf_glove_varlen_var_w1")
    x = references.sentences(inputs)
    states = references.of_words(wl.limit(references.recurrent(every_state=True), example(x)).nngp(x))
    assert networks.relative(states, np.array(expected["nngp_all_states"])) < 1e-9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is not reached")
def test_first_states_of_a_gated_recurrent_unit(golden):
    """The states of the first two words; the number of Gaussians that are coupled doubles with each."""
    expected, inputs = references.case(golden, "gru_gp_glove")
    x, words = references.sentences(inputs, steps=2), np.ix_([0, 1, 7, 8], [0, 1, 7, 8])
    states = references.of_words(wl.limit(references.gated(), example(x), accuracy=1e-5).nngp(x))
    assert networks.relative(states, np.array(expected["nngp_all_states"])[words]) < 2e-4


def example(x):
    return jax.tree.map(lambda a: a[0], x)
