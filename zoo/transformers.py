"""Transformers: encoders, causal decoders, an image transformer with a class token, a set transformer."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import widelimit as wl
from zoo._inputs import normal, tokens, unit
from zoo._row import row

VOCABULARY = 7
SENTENCES = tokens(3, 4, VOCABULARY)
SHORT = tokens(2, 3, VOCABULARY)
PAIRS = np.array([[1, 4], [2, 4]], np.int32)
IMAGES = unit(2, 4, 4, 3)
SETS = normal(2, 3, 5)
EXPECTATIONS = {"accuracy": 3e-3}
WIDE_HEADS = {"widths": (8, 16, 32), "accuracy": 0.02}  # n heads of size n: n³ numbers in each weight


def drawn(key, shapes):
    """Entries of variance 1/fan-in."""
    keys = jax.random.split(key, len(shapes))
    return {p: jax.random.normal(k, s) / s[0] ** 0.5 for k, (p, s) in zip(keys, shapes.items(), strict=True)}


def layer_norm(x, gain, shift):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return gain * (x - mean) / jnp.sqrt(variance + 1e-5) + shift


def rms_norm(x, gain):
    return gain * x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def angles(length, size):
    """t 100^{-i/d}: one angle for each pair of d coordinates."""
    return np.outer(np.arange(length), 100.0 ** (-np.arange(size // 2) / (size // 2)))


def sinusoidal(length, width):
    """The code of Attention Is All You Need: sine and cosine in turn."""
    turns = angles(length, width)
    return np.stack([np.sin(turns), np.cos(turns)], -1).reshape(length, width)


def rotary(h):
    """(heads, tokens, d) turned by the angles of the positions (Su et al., RoFormer)."""
    turns, half = angles(h.shape[1], h.shape[2]), h.shape[2] // 2
    sine, cosine = (np.tile(f(turns), 2) for f in (np.sin, np.cos))
    return h * cosine + jnp.concatenate([-h[..., half:], h[..., :half]], -1) * sine


@row(
    "transformer encoder, pre-LayerNorm, GELU, learned positions", source="jax", x=SENTENCES, verify={"accuracy": 0.02}
)
def encoder():
    """Logits are q·k/d, as maximal update parametrisation has them."""

    def layer(key, n):
        weights = drawn(key, {name: (n, n) for name in ("q", "k", "v", "o")} | {"up": (n, 4 * n), "down": (4 * n, n)})
        return weights | {"g1": jnp.ones(n), "s1": jnp.zeros(n), "g2": jnp.ones(n), "s2": jnp.zeros(n)}

    def init(key, n):
        k = jax.random.split(key, 5)
        return {
            "tokens": jax.random.normal(k[0], (VOCABULARY, n)),
            "positions": jax.random.normal(k[1], (4, n)),
            "layers": [layer(k[2], n), layer(k[3], n)],
            "head": jax.random.normal(k[4], (n, 1)) / n**0.5,
        }

    def apply(p, ids):
        h = p["tokens"][ids] + p["positions"]
        for w in p["layers"]:
            x = layer_norm(h, w["g1"], w["s1"])
            q, k, v = x @ w["q"], x @ w["k"], x @ w["v"]
            h = h + jax.nn.softmax(q @ k.T / q.shape[-1], -1) @ v @ w["o"]
            h = h + jax.nn.gelu(layer_norm(h, w["g2"], w["s2"]) @ w["up"]) @ w["down"]
        return h.mean(0) @ p["head"]

    return wl.Network(init, apply)


class PostNormBlock(nnx.Module):
    """As in Attention Is All You Need, with wide heads."""

    def __init__(self, width, heads, rngs):
        self.attention = nnx.MultiHeadAttention(heads, width, qkv_features=heads * width, decode=False, rngs=rngs)
        self.norm1, self.norm2 = (nnx.LayerNorm(width, rngs=rngs) for _ in range(2))
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x, mask=None):
        x = self.norm1(x + self.attention(x, mask=mask))
        return self.norm2(x + self.down(nnx.relu(self.up(x))))


class PostNormEncoder(nnx.Module):
    def __init__(self, width, rngs):
        unit = nnx.initializers.normal(1.0)
        self.tokens = nnx.Embed(VOCABULARY, width, embedding_init=unit, rngs=rngs)
        self.positions = nnx.Embed(3, width, embedding_init=unit, rngs=rngs)
        self.block = PostNormBlock(width, width, rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, ids):
        x = self.tokens(ids) + self.positions(jnp.arange(ids.shape[0]))
        return self.head(self.block(x).mean(0))


@row(
    "transformer encoder, post-LayerNorm, q·k/√d, wide heads",
    source="flax.nnx",
    x=SHORT,
    limit=EXPECTATIONS,
    verify=WIDE_HEADS,
)
def post_norm_encoder():
    return wl.from_flax(lambda width, rngs: PostNormEncoder(width, rngs))


class SwiGLU(eqx.Module):
    gate: eqx.nn.Linear
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, width, key):
        k = jax.random.split(key, 3)
        self.gate, self.up = (eqx.nn.Linear(width, 2 * width, use_bias=False, key=k[i]) for i in (0, 1))
        self.down = eqx.nn.Linear(2 * width, width, use_bias=False, key=k[2])

    def __call__(self, x):
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


class Decoder(eqx.Module):
    """A block in the manner of Llama: RMSNorm, rotary positions in heads of fixed size, SwiGLU."""

    tokens: eqx.nn.Embedding
    norms: list[eqx.nn.RMSNorm]
    attention: eqx.nn.MultiheadAttention
    rotary: eqx.nn.RotaryPositionalEmbedding
    mlp: SwiGLU
    head: eqx.nn.Linear

    def __init__(self, width, size, key):
        k = jax.random.split(key, 4)
        self.tokens = eqx.nn.Embedding(VOCABULARY, width, key=k[0])
        self.norms = [eqx.nn.RMSNorm(width) for _ in range(3)]
        self.attention = eqx.nn.MultiheadAttention(width // size, width, key=k[1])
        self.rotary = eqx.nn.RotaryPositionalEmbedding(size)
        self.mlp = SwiGLU(width, k[2])
        self.head = eqx.nn.Linear(width, 1, key=k[3])

    def _rotated(self, q, k, v):
        turn = jax.vmap(self.rotary, in_axes=1, out_axes=1)
        return turn(q), turn(k), v

    def __call__(self, ids):
        h = jax.vmap(self.tokens)(ids)
        x = jax.vmap(self.norms[0])(h)
        mask = jnp.tril(jnp.ones((len(ids), len(ids)), bool))
        h = h + self.attention(x, x, x, mask, process_heads=self._rotated)
        h = h + jax.vmap(self.mlp)(jax.vmap(self.norms[1])(h))
        return jax.vmap(self.head)(jax.vmap(self.norms[2])(h))[-1]


@row(
    "causal decoder, RMSNorm, rotary positions, SwiGLU, heads of size four",
    source="equinox",
    x=PAIRS,
    approximate=True,
    limit=EXPECTATIONS,
    verify={"accuracy": 0.02},
)
def decoder():
    return wl.from_equinox(lambda width, key: Decoder(width, 4, key))


@row("transformer encoder, sinusoidal positions, RMSNorm", source="jax", x=SENTENCES, verify={"accuracy": 0.02})
def sinusoidal_encoder():
    """The code varies along the width; logits are those of one head, q·k/d, with one weight for both."""

    def init(key, n):
        names = {"embed": (VOCABULARY, n), "qk": (n, n), "v": (n, n), "up": (n, n), "down": (n, n), "head": (n, 1)}
        return drawn(key, names)

    def apply(p, ids):
        h = p["embed"][ids] * VOCABULARY**0.5 + sinusoidal(len(ids), p["qk"].shape[0])
        x = rms_norm(h, 1.0)
        q, v = x @ p["qk"], x @ p["v"]
        h = h + jax.nn.softmax(q @ q.T / q.shape[-1]) @ v
        h = h + jax.nn.gelu(rms_norm(h, 1.0) @ p["up"]) @ p["down"]
        return rms_norm(h, 1.0).mean(0) @ p["head"]

    return wl.Network(init, apply)


@row("causal attention, rotary positions in wide heads", source="jax", x=SHORT, limit=EXPECTATIONS, verify=WIDE_HEADS)
def rotary_attention():
    """The angles vary along the heads' coordinates, which grow in number with the heads."""

    def init(key, n):
        heads = {name: (n, n, n) for name in ("q", "k", "v")}
        return drawn(key, {"embed": (VOCABULARY, n)} | heads | {"o": (n, n, n), "head": (n, 1)})

    def apply(p, ids):
        h = p["embed"][ids] * VOCABULARY**0.5
        q, k, v = (jnp.einsum("tn,nhd->htd", h, p[name]) for name in "qkv")
        logits = jnp.einsum("htd,hsd->hts", rotary(q), rotary(k)) / jnp.sqrt(q.shape[-1])
        logits = jnp.where(jnp.tri(len(ids), dtype=bool), logits, -jnp.inf)
        y = jnp.einsum("hts,hsd->htd", jax.nn.softmax(logits), v)
        y = jnp.einsum("htd,hdn->tn", y, p["o"]) / jnp.sqrt(y.shape[0])
        return (h + y)[-1] @ p["head"]

    return wl.Network(init, apply)


@row(
    "causal decoder, one-hot tokens, RMSNorm, wide heads", source="jax", x=SHORT, limit=EXPECTATIONS, verify=WIDE_HEADS
)
def one_hot_decoder():
    def init(key, n):
        shapes = {"embed": (VOCABULARY, n), "up": (n, 2 * n), "down": (2 * n, n), "head": (n, 1)}
        heads = {name: (n, n, n) for name in ("q", "k", "v")}
        params = drawn(key, shapes | heads | {"o": (n, n, n)})
        return params | {"positions": drawn(jax.random.fold_in(key, 1), {"p": (3, n)})["p"], "gains": jnp.ones((2, n))}

    def apply(p, ids):
        h = jax.nn.one_hot(ids, VOCABULARY) @ p["embed"] + p["positions"]
        x = rms_norm(h, p["gains"][0])
        q, k, v = (jnp.einsum("tn,nhd->htd", x, p[name]) for name in "qkv")
        logits = jnp.einsum("htd,hsd->hts", q, k) / jnp.sqrt(q.shape[-1])
        logits = jnp.where(jnp.tri(len(ids), dtype=bool), logits, -jnp.inf)
        y = jnp.einsum("hts,hsd->htd", jax.nn.softmax(logits), v)
        h = h + jnp.einsum("htd,hdn->tn", y, p["o"]) / jnp.sqrt(y.shape[0])
        h = h + jax.nn.silu(rms_norm(h, p["gains"][1]) @ p["up"]) @ p["down"]
        return h[-1] @ p["head"]

    return wl.Network(init, apply)


class ImageTransformer(nnx.Module):
    """Four patches and a class token, read at the class token."""

    def __init__(self, width, rngs):
        normal = nnx.initializers.normal(12**-0.5)
        self.patches = nnx.Conv(3, width, (2, 2), strides=2, padding="VALID", kernel_init=normal, rngs=rngs)
        self.token = nnx.Param(jax.random.normal(rngs.params(), (1, width)))
        self.positions = nnx.Param(jax.random.normal(rngs.params(), (5, width)))
        self.norm1, self.norm2, self.norm3 = (nnx.LayerNorm(width, rngs=rngs) for _ in range(3))
        self.attention = nnx.MultiHeadAttention(width, width, qkv_features=width**2, decode=False, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, image):
        x = self.patches(image)
        x = jnp.concatenate([self.token[...], x.reshape(-1, x.shape[-1])]) + self.positions[...]
        x = x + self.attention(self.norm1(x))
        x = x + self.down(nnx.gelu(self.up(self.norm2(x))))
        return self.head(self.norm3(x)[0])


@row("ViT with class token, wide heads", source="flax.nnx", x=IMAGES, limit=EXPECTATIONS, verify=WIDE_HEADS)
def image_transformer():
    return wl.from_flax(lambda width, rngs: ImageTransformer(width, rngs))


@row("set transformer with inducing points, wide heads", source="jax", x=SETS, limit=EXPECTATIONS, verify=WIDE_HEADS)
def set_transformer():
    """Induced set attention: two learned points attend to the set, the set to them; then a seed pools."""

    def block(key, n):
        return drawn(key, {name: (n, n, n) for name in "qkv"} | {"o": (n, n, n)})

    def init(key, n):
        k = jax.random.split(key, 6)
        weights = drawn(k[0], {"embed": (5, n), "head": (n, 1)})
        learned = {"points": jax.random.normal(k[1], (2, n)), "seed": jax.random.normal(k[2], (1, n))}
        return weights | learned | {"read": block(k[3], n), "write": block(k[4], n), "pool": block(k[5], n)}

    def attend(w, x, y):
        q = jnp.einsum("tn,nhd->thd", x, w["q"])
        k, v = (jnp.einsum("tn,nhd->thd", y, w[name]) for name in "kv")
        weights = jax.nn.softmax(jnp.einsum("thd,shd->hts", q, k) / q.shape[-1] ** 0.5)
        heads = jnp.einsum("hts,shd->thd", weights, v)
        return x + jnp.einsum("thd,hdn->tn", heads, w["o"]) / heads.shape[-2] ** 0.5

    def apply(p, x):
        h = x @ p["embed"]
        induced = attend(p["read"], p["points"], h)
        h = attend(p["write"], h, induced)
        return (attend(p["pool"], p["seed"], h) @ p["head"])[0]

    return wl.Network(init, apply)
