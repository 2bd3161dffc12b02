"""The graphical notation of Tensor Programs IIb (Yang & Littwin 2021), Figures 1, 4 and 5, drawn from networks' code.

    python papers/tensor_programs_2b/notation.py

writes `program-rnn.svg`, `program-layer-norm.svg`, `program-attention.svg` and `program-convolution.svg` into `docs/_static`, and prints
the programs.
"""

from pathlib import Path

import jax
import jax.numpy as jnp

import widelimit as wl

STATIC = Path(__file__).resolve().parents[2] / "docs" / "_static"


def drawn(shapes):
    def init(key, width):
        table = shapes(width)
        keys = jax.random.split(key, len(table))
        return {name: jax.random.normal(k, shape) for k, (name, shape) in zip(keys, table.items(), strict=True)}

    return init


def dense(params, name, h):
    return h @ params[name] / jnp.sqrt(h.shape[-1])


def layer_norm(h):
    mean = h.mean(-1, keepdims=True)
    return (h - mean) / jnp.sqrt(((h - mean) ** 2).mean(-1, keepdims=True) + 1e-6)


def recurrent(params, x):
    """Figure 1: one matrix on every dashed edge, one bias for all steps."""
    state = jnp.zeros(params["b"].shape)
    for token in x:
        state = jnp.tanh(dense(params, "W", state) + dense(params, "U", token) + params["b"])
    return dense(params, "v", state)


def normalised(params, x):
    """Figure 4, left: mean and variance are Moments."""
    return dense(params, "v", layer_norm(jnp.tanh(dense(params, "U", x))))


def transformer(params, x):
    """Figure 4, right, in a whole block: logits are a Moment, attention weights are scalars."""
    h = dense(params, "embed", x)
    normal = layer_norm(h)
    q, k, v = (dense(params, name, normal) for name in ("query", "key", "value"))
    h = h + dense(params, "proj", jax.nn.softmax(q @ k.T / q.shape[-1]) @ v)
    h = h + dense(params, "down", jax.nn.gelu(dense(params, "up", layer_norm(h)), approximate=False))
    return dense(params, "readout", layer_norm(h).mean(0))


def convolutional(params, x):
    """Figure 5, with pooling in between."""
    h = jax.nn.relu(_convolution(x, params["conv1"]) + 0.1 * params["bias1"])
    h = h.reshape(4, 2, 4, 2, -1).mean((1, 3))
    h = jax.nn.relu(_convolution(h, params["conv2"]) + 0.1 * params["bias2"])
    return h.ravel() @ params["readout"] / jnp.sqrt(h.size)


def _convolution(x, w):
    dims = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(x[None], w, (1, 1), "SAME", dimension_numbers=dims)[0]
    return out / jnp.sqrt(9 * x.shape[-1])


NETWORKS = {
    "rnn": (recurrent, lambda n: {"U": (3, n), "W": (n, n), "b": (n,), "v": (n, 1)}, (4, 3)),
    "layer-norm": (normalised, lambda n: {"U": (5, n), "v": (n, 1)}, (5,)),
    "attention": (
        transformer,
        lambda n: {
            "embed": (6, n),
            **{name: (n, n) for name in ("query", "key", "value", "proj")},
            **{"up": (n, 4 * n), "down": (4 * n, n), "readout": (n, 1)},
        },
        (5, 6),
    ),
    "convolution": (
        convolutional,
        lambda n: {
            **{"conv1": (3, 3, 3, n), "bias1": (n,), "conv2": (3, 3, n, n), "bias2": (n,)},
            "readout": (16 * n, 1),
        },
        (8, 8, 3),
    ),
}


def main() -> None:
    for name, (apply, shapes, example) in NETWORKS.items():
        program = wl.limit(wl.Network(drawn(shapes), apply), example).program
        program.draw(STATIC / f"program-{name}.svg")
        print(f"--- {name}\n{program}\n")


if __name__ == "__main__":
    main()
