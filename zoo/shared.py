"""One weight used many times: in depth, and with its transpose."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import widelimit as wl
from zoo._inputs import unit
from zoo._row import row

VECTORS = unit(2, 6)
TOKENS = unit(2, 3, 6)


def drawn(shapes):
    """`init` of a dict of standard normal parameters."""

    def init(key, width):
        table = shapes(width)
        keys = jax.random.split(key, len(table))
        return {name: jax.random.normal(k, shape) for k, (name, shape) in zip(keys, table.items(), strict=True)}

    return init


def dense(h, w):
    return h @ w / jnp.sqrt(h.shape[-1])


@row("Neural ODE, Euler steps", source="jax", x=VECTORS)
def neural_ode():
    """dh/dt = tanh(W h + b), three steps to t = 1."""

    def apply(p, x):
        def step(_, h):
            return h + jnp.tanh(dense(h, p["w"]) + p["b"]) / 3

        return dense(jax.lax.fori_loop(0, 3, step, dense(x, p["u"])), p["v"])

    return wl.Network(drawn(lambda n: {"u": (6, n), "w": (n, n), "b": (n,), "v": (n, 1)}), apply)


@row("looped attention block", source="jax", x=TOKENS)
def looped_transformer():
    """One block of attention and a perceptron, run twice."""

    def norm(h):
        centred = h - h.mean(-1, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)

    def block(p, h):
        z = norm(h)
        logits = dense(z, p["q"]) @ dense(z, p["k"]).T / z.shape[-1]
        h = h + dense(jax.nn.softmax(logits) @ dense(z, p["o"]), p["o2"])
        return h + dense(jax.nn.relu(dense(norm(h), p["w1"])), p["w2"])

    def apply(p, x):
        h = dense(x, p["u"])
        for _ in range(2):
            h = block(p, h)
        return dense(norm(h).mean(0), p["v"])

    def shapes(n):
        return {"u": (6, n), "v": (n, 1)} | {name: (n, n) for name in ("q", "k", "o", "o2", "w1", "w2")}

    return wl.Network(drawn(shapes), apply)


@row("tied autoencoder", source="jax", x=VECTORS, approximate=True)
def tied_autoencoder():
    """Wᵀ decodes what W encodes; treating the two as independent is wrong by a quarter."""

    def apply(p, x):
        h = jnp.tanh(dense(x, p["u"]))
        code = jnp.tanh(dense(h, p["w"]))
        return dense(jnp.tanh(dense(code, p["w"].T)), p["v"])

    return wl.Network(drawn(lambda n: {"u": (6, n), "w": (n, n), "v": (n, 1)}), apply)


@row("layer that descends an energy", source="jax", x=VECTORS)
def energy():
    """h − ½∇ ½|relu(W h)|² = h − ½ Wᵀ relu(W h): automatic differentiation uses W and Wᵀ."""

    def apply(p, x):
        def potential(h):
            return 0.5 * (jax.nn.relu(dense(h, p["w"])) ** 2).sum()

        h = dense(x, p["u"])
        return dense(h - 0.5 * jax.grad(potential)(h), p["v"])

    return wl.Network(drawn(lambda n: {"u": (6, n), "w": (n, n), "v": (n, 1)}), apply)


class Autoencoder(eqx.Module):
    encoder: eqx.nn.Linear
    code: eqx.nn.Linear
    out: eqx.nn.Linear

    def __init__(self, width, key):
        k1, k2, k3 = jax.random.split(key, 3)
        self.encoder = eqx.nn.Linear(6, width, use_bias=False, key=k1)
        self.code = eqx.nn.Linear(width, 2 * width, use_bias=False, key=k2)
        self.out = eqx.nn.Linear(width, 1, use_bias=False, key=k3)

    def __call__(self, x):
        h = self.encoder(x)
        code = jax.nn.relu(self.code(h))
        return self.out(self.code.weight.T @ code)


@row("tied autoencoder, linear decoder", source="equinox", x=VECTORS, approximate=True)
def equinox_autoencoder():
    return wl.from_equinox(lambda width, key: Autoencoder(width, key))


class TiedReadout(nnx.Module):
    """An embedding whose table is the readout too; the hidden layer's weights make the two uses independent."""

    def __init__(self, width, rngs):
        self.embed = nnx.Embed(5, width, embedding_init=nnx.initializers.normal(1.0), rngs=rngs)
        self.hidden = nnx.Linear(width, width, rngs=rngs)

    def embedded(self, x):
        return x @ self.embed.embedding[...]

    def __call__(self, x):
        h = nnx.gelu(self.hidden(self.embedded(x)))
        return self.embed.attend(h) / jnp.sqrt(self.embed.features)


class TiedResidual(TiedReadout):
    """With a skip connection every output meets its own row of the table again."""

    def __call__(self, x):
        h = self.embedded(x)
        return self.embed.attend(h + nnx.gelu(self.hidden(h))) / jnp.sqrt(self.embed.features)


@row("readout tied to the embedding", source="flax.nnx", x=unit(2, 5))
def tied_readout():
    return wl.from_flax(TiedReadout)


@row(
    "readout tied to the embedding, residual", source="flax.nnx", x=unit(2, 5), refused="is the readout of what follows"
)
def tied_residual():
    return wl.from_flax(TiedResidual)
