"""Recurrent networks: simple, gated and long short-term memory cells, over sequences of three or four steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import widelimit as wl
from zoo._inputs import normal
from zoo._row import KEEPING_LAWS, row

SEQUENCES = normal(2, 4, 3)
SHORT = normal(2, 3, 3)
LENGTHS = {"x": normal(3, 4, 3), "length": np.array([2, 4, 3], np.int32)}


def drawn(shapes):
    """`init` of a dict of standard normal parameters."""

    def init(key, width):
        table = shapes(width)
        keys = jax.random.split(key, len(table))
        return {name: jax.random.normal(k, shape) for k, (name, shape) in zip(keys, table.items(), strict=True)}

    return init


# --- plain functions --------------------------------------------------------------------------------------------------


def rnn_shapes(n):
    return {"w": (n, n), "u": (3, n), "b": (n,), "v": (n, 1)}


def rnn_step(p, h, x):
    return jnp.tanh(h @ p["w"] / jnp.sqrt(h.shape[-1]) + x @ p["u"] / jnp.sqrt(3) + 0.1 * p["b"])


def readout(p, h):
    return h @ p["v"] / jnp.sqrt(h.shape[-1])


@row("RNN, last state", source="jax", x=SEQUENCES)
def rnn_last():
    def apply(p, x):
        h, _ = jax.lax.scan(lambda h, xt: (rnn_step(p, h, xt), None), jnp.zeros_like(p["b"]), x)
        return readout(p, h)

    return wl.Network(drawn(rnn_shapes), apply)


@row("RNN, mean over time", source="jax", x=SEQUENCES)
def rnn_pooled():
    def apply(p, x):
        def step(h, xt):
            h = rnn_step(p, h, xt)
            return h, h

        _, states = jax.lax.scan(step, jnp.zeros_like(p["b"]), x)
        return readout(p, states.mean(0))

    return wl.Network(drawn(rnn_shapes), apply)


@row("RNN, sequences of different length by a mask", source="jax", x=LENGTHS)
def rnn_masked():
    def apply(p, example):
        x, length = example["x"], example["length"]

        def step(h, inputs):
            t, xt = inputs
            return jnp.where(t < length, rnn_step(p, h, xt), h), None

        h, _ = jax.lax.scan(step, jnp.zeros_like(p["b"]), (jnp.arange(len(x)), x))
        return readout(p, h)

    return wl.Network(drawn(rnn_shapes), apply)


@row("RNN, state at the sequence's end", source="jax", x=LENGTHS)
def rnn_picked():
    def apply(p, example):
        def step(h, xt):
            h = rnn_step(p, h, xt)
            return h, h

        _, states = jax.lax.scan(step, jnp.zeros_like(p["b"]), example["x"])
        return readout(p, states[example["length"] - 1])

    return wl.Network(drawn(rnn_shapes), apply)


@row("RNN, bidirectional", source="jax", x=SEQUENCES)
def rnn_bidirectional():
    def shapes(n):
        return {"forward": rnn_shapes(n), "backward": rnn_shapes(n), "v": (2 * n, 1)}

    def init(key, width):
        k = jax.random.split(key, 3)
        return {
            "forward": drawn(rnn_shapes)(k[0], width),
            "backward": drawn(rnn_shapes)(k[1], width),
            "v": jax.random.normal(k[2], (2 * width, 1)),
        }

    def states(p, x, reverse):
        def step(h, xt):
            h = rnn_step(p, h, xt)
            return h, h

        return jax.lax.scan(step, jnp.zeros_like(p["b"]), x, reverse=reverse)[1]

    def apply(p, x):
        both = jnp.concatenate([states(p["forward"], x, False), states(p["backward"], x, True)], axis=-1)
        return readout(p, both.mean(0))

    return wl.Network(init, apply)


def gated(p, name, h, x):
    """W_name h + U_name x + b_name."""
    product = h @ p[f"w_{name}"] / jnp.sqrt(h.shape[-1])
    return product + x @ p[f"u_{name}"] / jnp.sqrt(x.shape[-1]) + p[f"b_{name}"]


def gated_shapes(gates):
    def shapes(n):
        weights = (
            {f"w_{g}": (n, n) for g in gates} | {f"u_{g}": (3, n) for g in gates} | {f"b_{g}": (n,) for g in gates}
        )
        return weights | {"v": (n, 1)}

    return shapes


@row("GRU", source="jax", x=SHORT, approximate=True)
def gru():
    def step(p, h, x):
        z, r = (jax.nn.sigmoid(gated(p, g, h, x)) for g in "zr")
        candidate = jnp.tanh(gated(p, "h", r * h, x))
        return (1 - z) * h + z * candidate

    def apply(p, x):
        h, _ = jax.lax.scan(lambda h, xt: (step(p, h, xt), None), jnp.zeros_like(p["b_z"]), x)
        return readout(p, h)

    return wl.Network(drawn(gated_shapes("zrh")), apply)


@row("LSTM", source="jax", x=SHORT, approximate=True)
def lstm():
    def step(p, state, x):
        h, c = state
        i, f, o = (jax.nn.sigmoid(gated(p, g, h, x)) for g in "ifo")
        c = f * c + i * jnp.tanh(gated(p, "c", h, x))
        return o * jnp.tanh(c), c

    def apply(p, x):
        start = jnp.zeros_like(p["b_i"])
        (h, _), _ = jax.lax.scan(lambda s, xt: (step(p, s, xt), None), (start, start), x)
        return readout(p, h)

    return wl.Network(drawn(gated_shapes("ifoc")), apply)


# --- flax.nnx -------------------------------------------------------------------------------------------------------------


class Recurrent(nnx.Module):
    def __init__(self, cell, width, rngs, **kwargs):
        self.rnn = nnx.RNN(cell(3, width, rngs=rngs, **kwargs))
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(self.rnn(x[None])[0, -1])


@row("RNN cell", source="flax.nnx", x=SEQUENCES, limit=KEEPING_LAWS)
def flax_simple():
    return wl.from_flax(lambda width, rngs: Recurrent(nnx.SimpleCell, width, rngs))


NORMAL = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")  # of three inputs a truncated law would remain


@row("GRU cell", source="flax.nnx", x=SHORT, approximate=True)
def flax_gru():
    return wl.from_flax(lambda width, rngs: Recurrent(nnx.GRUCell, width, rngs, kernel_init=NORMAL))


@row(
    "GRU cell, truncated normal law of the input weights",
    source="flax.nnx",
    x=SHORT,
    limit=KEEPING_LAWS,
)
def flax_gru_truncated():
    return wl.from_flax(lambda width, rngs: Recurrent(nnx.GRUCell, width, rngs))


@row("LSTM cell", source="flax.nnx", x=SHORT, approximate=True)
def flax_lstm():
    return wl.from_flax(lambda width, rngs: Recurrent(nnx.LSTMCell, width, rngs, kernel_init=NORMAL))


class Bidirectional(nnx.Module):
    def __init__(self, width, rngs):
        forward, backward = (nnx.RNN(nnx.SimpleCell(3, width, rngs=rngs)) for _ in range(2))
        self.rnn = nnx.Bidirectional(forward, backward)
        self.out = nnx.Linear(2 * width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(self.rnn(x[None])[0].mean(0))


@row("RNN cell, bidirectional", source="flax.nnx", x=SEQUENCES, limit=KEEPING_LAWS)
def flax_bidirectional():
    return wl.from_flax(Bidirectional)


# --- equinox: its cells draw all weights with the variance 1/(3 width), so that inputs are embedded first ---------------------


class EquinoxRNN(eqx.Module):
    embed: eqx.nn.Linear
    cell: eqx.Module
    out: eqx.nn.Linear

    def __init__(self, cell, width, key):
        k1, k2, k3 = jax.random.split(key, 3)
        self.embed = eqx.nn.Linear(3, width, key=k1)
        self.cell = cell(width, width, key=k2)
        self.out = eqx.nn.Linear(width, 1, key=k3)

    def __call__(self, x):
        zeros = jnp.zeros(self.cell.hidden_size)
        start = (zeros, zeros) if isinstance(self.cell, eqx.nn.LSTMCell) else zeros
        last, _ = jax.lax.scan(lambda s, xt: (self.cell(self.embed(xt), s), None), start, x)
        return self.out(last[0] if isinstance(last, tuple) else last)


@row("GRU cell", source="equinox", x=SHORT, approximate=True)
def equinox_gru():
    return wl.from_equinox(lambda width, key: EquinoxRNN(eqx.nn.GRUCell, width, key))


@row("LSTM cell", source="equinox", x=SHORT, approximate=True)
def equinox_lstm():
    return wl.from_equinox(lambda width, key: EquinoxRNN(eqx.nn.LSTMCell, width, key))


class Unembedded(eqx.Module):
    cell: eqx.nn.GRUCell
    out: eqx.nn.Linear

    def __init__(self, width, key):
        k1, k2 = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(3, width, key=k1)
        self.out = eqx.nn.Linear(width, 1, key=k2)

    def __call__(self, x):
        h, _ = jax.lax.scan(lambda h, xt: (self.cell(xt, h), None), jnp.zeros(self.cell.hidden_size), x)
        return self.out(h)


@row("GRU cell on three features", source="equinox", x=SHORT, refused="shrinks like n^-1/2")
def equinox_unembedded():
    return wl.from_equinox(Unembedded)
