"""Attention in its three limits: logits q·k/d, q·k/√d with many heads, and q·k/√d with a fixed number of heads."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import widelimit as wl
from zoo._inputs import normal
from zoo._row import row

SEQUENCES = normal(2, 3, 5)
PAIRS = normal(2, 2, 5)
TO_A_CONTEXT = {"x": normal(2, 2, 5), "context": normal(2, 3, 4)}
WIDE_HEADS = {"widths": (8, 16, 32), "accuracy": 0.02}  # n heads of size n: n³ numbers in each weight
EXPECTATIONS = {"accuracy": 3e-3}


def normal_parameters(key, shapes):
    """Entries of variance 1/fan-in, the fan-in being all axes but the last of what is summed over."""
    keys = jax.random.split(key, len(shapes))
    return {
        name: jax.random.normal(k, shape) / fan_in**0.5
        for k, (name, (shape, fan_in)) in zip(keys, shapes.items(), strict=True)
    }


def one_head(tied, scale):
    def init(key, n):
        shapes = {"embed": ((5, n), 5), "q": ((n, n), n), "k": ((n, n), n), "v": ((n, n), n), "out": ((n, 1), n)}
        return normal_parameters(key, shapes)

    def apply(p, x):
        h = x @ p["embed"]
        q, k, v = h @ p["q"], h @ p["q" if tied else "k"], h @ p["v"]
        attention = jax.nn.softmax(scale(q.shape[-1]) * q @ k.T, -1)
        h = h + attention @ v
        return (jax.nn.gelu(h) @ p["out"]).mean(0)

    return wl.Network(init, apply)


@row("attention, logits q·k/d", source="jax", x=SEQUENCES)
def attention_by_d():
    return one_head(False, lambda d: 1 / d)


@row("attention, logits q·k/d, tied queries and keys", source="jax", x=SEQUENCES)
def tied_attention():
    return one_head(True, lambda d: 1 / d)


@row("attention, logits q·k/√d, one head", source="jax", x=SEQUENCES, refused="scaled like n^")
def one_head_by_root_d():
    return one_head(False, lambda d: d**-0.5)


def many_heads(size):
    def init(key, n):
        heads, d = n // size(n) if size(n) < n else n, size(n)
        shapes = {name: ((n, heads, d), n) for name in ("q", "k", "v")}
        shapes |= {"embed": ((5, n), 5), "o": ((heads, d, n), heads * d), "out": ((n, 1), n)}
        return normal_parameters(key, shapes)

    def apply(p, x):
        h = x @ p["embed"]
        q, k, v = (jnp.einsum("tn,nhd->htd", h, p[name]) for name in "qkv")
        attention = jax.nn.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
        h = h + jnp.einsum("htd,hdn->tn", attention @ v, p["o"])
        return (h @ p["out"]).mean(0)

    return wl.Network(init, apply)


@row("attention, q·k/√d, many heads of size two", source="jax", x=PAIRS, limit=EXPECTATIONS)
def small_heads():
    return many_heads(lambda n: 2)


@row("attention, q·k/√d, many wide heads", source="jax", x=SEQUENCES, limit=EXPECTATIONS, verify=WIDE_HEADS)
def wide_heads():
    return many_heads(lambda n: n)


class FlaxAttention(nnx.Module):
    def __init__(self, width, heads, rngs, size=None):
        self.embed = nnx.Linear(5, width, kernel_init=nnx.initializers.normal(5**-0.5), rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            num_heads=heads, in_features=width, qkv_features=heads * (size or width // heads), decode=False, rngs=rngs
        )
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        h = self.embed(x)
        return self.out(h + self.attention(h)).mean(0)


@row("nnx.MultiHeadAttention, many heads of size two", source="flax.nnx", x=PAIRS, limit=EXPECTATIONS)
def flax_small_heads():
    return wl.from_flax(lambda width, rngs: FlaxAttention(width, width // 2, rngs))


@row("nnx.MultiHeadAttention, many wide heads", source="flax.nnx", x=PAIRS, limit=EXPECTATIONS, verify=WIDE_HEADS)
def flax_wide_heads():
    return wl.from_flax(lambda width, rngs: FlaxAttention(width, width, rngs, size=width))


@row("nnx.MultiHeadAttention, four heads", source="flax.nnx", x=PAIRS, refused="scaled like n^")
def flax_four_heads():
    return wl.from_flax(lambda width, rngs: FlaxAttention(width, 4, rngs))


class CrossAttention(eqx.Module):
    """Queries from one sequence, keys and values from another."""

    x: eqx.nn.Linear
    context: eqx.nn.Linear
    attention: eqx.nn.MultiheadAttention
    out: eqx.nn.Linear

    def __init__(self, width, heads, size, key):
        k = jax.random.split(key, 4)
        self.x = eqx.nn.Linear(5, width, key=k[0])
        self.context = eqx.nn.Linear(4, width, key=k[1])
        self.attention = eqx.nn.MultiheadAttention(heads, width, qk_size=size, vo_size=size, key=k[2])
        self.out = eqx.nn.Linear(width, 1, key=k[3])

    def __call__(self, inputs):
        h, context = jax.vmap(self.x)(inputs["x"]), jax.vmap(self.context)(inputs["context"])
        return jax.vmap(self.out)(h + self.attention(h, context, context)).mean(0)


@row(
    "cross-attention by eqx.nn.MultiheadAttention, many wide heads",
    source="equinox",
    x=TO_A_CONTEXT,
    approximate=True,
    limit=EXPECTATIONS,
    verify=WIDE_HEADS,
)
def cross_attention():
    return wl.from_equinox(lambda width, key: CrossAttention(width, width, width, key))


@row("eqx.nn.MultiheadAttention, four heads", source="equinox", x=TO_A_CONTEXT, refused="scaled like n^")
def equinox_four_heads():
    return wl.from_equinox(lambda width, key: CrossAttention(width, 4, width // 4, key))
