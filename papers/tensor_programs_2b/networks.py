"""Six architectures in NTK parametrisation: a perceptron, a residual network with LayerNorm, a CNN, an RNN, a GRU and a transformer.

Each reads a (4, 4) array: a vector of 16, an image of 4 × 4 pixels or four tokens, and returns three outputs.
"""

import math

import jax
import jax.numpy as jnp

import widelimit as wl

SHAPE = (4, 4)
OUTPUTS = 3


def erf(h):
    return jax.scipy.special.erf(h)


def drawn(**shapes):
    """`init` of standard normal parameters by name; a shape is a function of the width."""

    def init(key, width):
        keys = jax.random.split(key, len(shapes))
        table = zip(keys, shapes.items(), strict=True)
        return {name: jax.random.normal(k, shape(width), jnp.float32) for k, (name, shape) in table}

    return init


def dense(params, name, h):
    """W h / √fan_in."""
    return h @ params[name] / math.sqrt(h.shape[-1])


def square(n):
    return (n, n)


def layer_norm(h):
    centred = h - h.mean(-1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)


def readout(**shapes):
    """The parameters of a network that ends in OUTPUTS."""
    return drawn(**shapes, v=lambda n: (n, OUTPUTS))


def perceptron():
    def apply(params, x):
        h = jax.nn.relu(dense(params, "w0", x.reshape(-1)))
        return dense(params, "v", jax.nn.relu(math.sqrt(2) * dense(params, "w1", h)))

    return wl.Network(readout(w0=lambda n: (16, n), w1=square), apply)


def residual():
    def apply(params, x):
        h = dense(params, "w0", x.reshape(-1))
        for name in ("w1", "w2"):
            h = h + dense(params, name, jax.nn.relu(layer_norm(h)))
        return dense(params, "v", layer_norm(h))

    return wl.Network(readout(w0=lambda n: (16, n), w1=square, w2=square), apply)


def convolutional():
    def conv(params, name, h):
        dims = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(h[None], params[name], (1, 1), "SAME", dimension_numbers=dims)[0]
        return y * math.sqrt(2 / (9 * h.shape[-1]))

    def apply(params, x):
        h = jax.nn.relu(conv(params, "w0", x[..., None]))
        return dense(params, "v", jax.nn.relu(conv(params, "w1", h)).mean((0, 1)))

    return wl.Network(readout(w0=lambda n: (3, 3, 1, n), w1=lambda n: (3, 3, n, n)), apply)


def recurrent():
    def apply(params, x):
        def step(h, token):
            return erf(dense(params, "w", h) + dense(params, "u", token) + 0.2 * params["b"]), None

        return dense(params, "v", jax.lax.scan(step, jnp.zeros(params["w"].shape[0], x.dtype), x)[0])

    return wl.Network(readout(w=square, u=lambda n: (4, n), b=lambda n: (n,)), apply)


def gated():
    """A gated recurrent unit (Cho et al. 2014)."""

    def apply(params, x):
        h = jnp.zeros(params["wz"].shape[0], x.dtype)
        for token in x:
            update = jax.nn.sigmoid(dense(params, "wz", h) + dense(params, "uz", token))
            reset = jax.nn.sigmoid(dense(params, "wr", h) + dense(params, "ur", token))
            candidate = jnp.tanh(dense(params, "wh", reset * h) + dense(params, "uh", token))
            h = (1 - update) * h + update * candidate
        return dense(params, "v", h)

    inputs = dict.fromkeys(("uz", "ur", "uh"), lambda n: (4, n))
    return wl.Network(readout(**dict.fromkeys(("wz", "wr", "wh"), square), **inputs), apply)


def transformer():
    """One pre-LayerNorm block, attention logits with the factor 1/d that makes them converge, read at its mean token."""

    def apply(params, x):
        h = dense(params, "embed", x)
        a = layer_norm(h)
        logits = dense(params, "q", a) @ dense(params, "k", a).T / a.shape[-1]
        h = h + dense(params, "o", jax.nn.softmax(logits) @ dense(params, "value", a))
        h = h + dense(params, "down", jax.nn.relu(dense(params, "up", layer_norm(h))))
        return dense(params, "v", layer_norm(h).mean(0))

    squares = dict.fromkeys(("q", "k", "value", "o", "up", "down"), square)
    return wl.Network(readout(embed=lambda n: (4, n), **squares), apply)


NETWORKS = {
    "MLP": perceptron,
    "ResNet + LayerNorm": residual,
    "CNN": convolutional,
    "RNN": recurrent,
    "GRU": gated,
    "transformer": transformer,
}
