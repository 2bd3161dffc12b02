"""Small networks that hold every kind of step a program has, by name: (network, inputs, further arguments of `wl.limit`)."""

import jax
import jax.numpy as jnp
import numpy as np

import networks
import widelimit as wl
from networks import drawn, readout, relu

RNG = np.random.default_rng(0)
X, SEQUENCES, IMAGES = RNG.normal(size=(3, 4)), RNG.normal(size=(2, 3, 3)), RNG.normal(size=(2, 4, 4, 3))


def product(h, w):
    return h @ w / jnp.sqrt(h.shape[-1])


def network(shapes, apply, **variances):
    return wl.Network(drawn(shapes, lambda name: variances.get(name, 1.0)), apply)


def gated():
    """A minimal gated unit: nonlinearities of several Gaussians, products, one weight at every step."""

    def apply(p, x):
        def step(h, xi):
            gate = jax.nn.sigmoid(product(xi, p["ug"]) + product(h, p["wg"]))
            return (1 - gate) * h + gate * jnp.tanh(product(xi, p["u"]) + product(h * gate, p["w"])), None

        return readout(p, jax.lax.scan(step, jnp.zeros_like(p["b"]), x)[0] + p["b"])

    return network(
        lambda n: {"ug": (3, n), "wg": (n, n), "u": (3, n), "w": (n, n), "b": (n,), "v": (n, 1)}, apply, b=0.1
    )


def tokens():
    """LayerNorm, attention with Moments as logits, learned positions, an output at every token."""

    def apply(p, x):
        h = product(x, p["u"]) + p["place"]
        q, k, v = (product(networks.layer_norm(h), p[name]) for name in "qkv")
        h = h + jax.nn.softmax(q @ k.T / q.shape[-1] + (h @ h.T) / h.shape[-1]) @ v
        h = h + product(jax.nn.gelu(product(networks.layer_norm(h), p["w1"])), p["w2"])
        return product(networks.layer_norm(h), p["o"])

    return network(
        lambda n: {
            "u": (3, n),
            "place": (3, n),
            **dict.fromkeys("qkv", (n, n)),
            "w1": (n, 2 * n),
            "w2": (2 * n, n),
            "o": (n, 2),
        },
        apply,
    )


def tied():
    """A matrix and its transpose, twice."""

    def apply(p, x):
        h = product(x, p["u"])
        for _ in range(2):
            h = h + product(jnp.tanh(product(h, p["w"])), p["w"].T) / 2
        return readout(p, jnp.tanh(h))

    return network(lambda n: {"u": (4, n), "w": (n, n), "v": (n, 1)}, apply)


def heads():
    """Logits q·k/√d of heads that grow in number and size, as weights: fluctuations."""

    def apply(p, x):
        q, k, v = (jnp.einsum("tn,nhd->thd", x, p[name]) / 3**0.5 for name in "qkv")
        logits = jnp.einsum("thd,shd->hts", q, k) / q.shape[-1] ** 0.5
        y = jnp.einsum("hts,shd->thd", logits, v)
        return jnp.einsum("thd,hdo->to", y, p["o"]) / (y.shape[-1] * y.shape[-2]) ** 0.5

    return network(lambda n: {name: (3, n, n) for name in "qkv"} | {"o": (n, n, 1)}, apply)


def batch_normalised():
    """One function of the Gaussians of all examples of a batch, an output for each."""

    def apply(p, x):
        h = product(x, p["u"])
        return readout(p, relu((h - h.mean(0)) / jnp.sqrt(h.var(0) + 0.1)))

    return network(lambda n: {"u": (3, n), "v": (n, 1)}, apply)


def pooled():
    """A convolution with stride, max pooling, and a weight for every position."""

    def apply(p, x):
        h = networks.conv(x, p["w"]) / jnp.sqrt(27) + p["b"]
        h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (2, 2, 1), (2, 2, 1), "VALID")
        return readout(p, relu(h).reshape(-1))

    return network(lambda n: {"w": (3, 3, 3, n), "b": (n,), "v": (4 * n, 1)}, apply)


def concatenated():
    """A wide concatenation, and weights cut into blocks."""

    def apply(p, x):
        h = relu(product(x, p["u"]))
        h = jnp.concatenate([h, jnp.tanh(product(h, p["w1"]))], -1)
        a, b = jnp.split(product(h, p["w2"]), 2, -1)
        return readout(p, a * jax.nn.sigmoid(b))

    return network(lambda n: {"u": (4, n), "w1": (n, n), "w2": (2 * n, 2 * n), "v": (n, 1)}, apply)


def filters():
    """A depthwise convolution: a filter that is a vector in every tap."""

    def apply(p, x):
        h = relu(networks.conv(x, p["w"]) / jnp.sqrt(27))
        dims = ("NHWC", "HWIO", "NHWC")
        h = jax.lax.conv_general_dilated(
            h[None], p["d"], (2, 2), "SAME", dimension_numbers=dims, feature_group_count=h.shape[-1]
        )[0]
        return readout(p, jnp.tanh(product(h, p["w1"])).mean((0, 1)))

    return network(lambda n: {"w": (3, 3, 3, n), "d": (3, 3, 1, n), "w1": (n, n), "v": (n, 1)}, apply)


def late():
    """Standard parametrisation, biases from zero, trained at the rates of the code."""

    def apply(p, x):
        return readout(p, jnp.tanh(product(jnp.tanh(product(x, p["u"]) + p["b"]), p["w"]) + p["b"]))

    def init(key, n):
        return drawn(lambda n: {"u": (4, n), "w": (n, n), "v": (n, 1)})(key, n) | {"b": jnp.zeros(n)}

    return wl.Network(init, apply)


PROGRAMS = {
    "perceptron": (lambda: networks.mlp(relu, inputs=4, layers=2), X, {}),
    "residual, LayerNorm": (networks.residual_mlp, RNG.normal(size=(3, 10)), {}),
    "gated recurrence": (gated, SEQUENCES[:, :2], {"accuracy": 1e-4}),
    "attention": (tokens, SEQUENCES, {}),
    "W and its transpose": (tied, X, {"accuracy": 1e-4}),
    "many heads": (heads, SEQUENCES[:, :2], {}),
    "batch normalisation": (batch_normalised, SEQUENCES[:, :, :], {"accuracy": 1e-3}),
    "max pooling": (pooled, IMAGES, {"accuracy": 1e-3}),
    "convolutions": (networks.cnn_flatten, RNG.normal(size=(2, 8, 8, 3)), {}),
    "depthwise filters": (filters, IMAGES, {}),
    "concatenation": (concatenated, X, {}),
    "rates of the code": (late, X, {"learning_rates": 1.0}),
}
