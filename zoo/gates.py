"""Gates: products of wide vectors, coordinate by coordinate, and weights computed from the example."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import widelimit as wl
from zoo._inputs import normal, unit
from zoo._row import row

VECTORS = unit(3, 10)
IMAGES = normal(2, 3, 3, 2)


def parameters(**shapes):
    """Normal weights of standard parametrisation."""

    def init(key, n):
        keys = jax.random.split(key, len(shapes))
        sizes = {name: shape(n) for name, shape in shapes.items()}
        return {p: jax.random.normal(k, s) / s[-2] ** 0.5 for k, (p, s) in zip(keys, sizes.items(), strict=True)}

    return init


class GLU(nnx.Module):
    """Shazeer (2020): φ(x W) ⊙ (x V), with W and V in one matrix."""

    def __init__(self, width, activation, rngs):
        self.activation = activation
        self.embed = nnx.Linear(10, width, kernel_init=nnx.initializers.normal(10**-0.5), rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        h = self.embed(x)
        gate, value = jnp.split(self.up(h), 2, axis=-1)
        return self.out(h + self.down(self.activation(gate) * value))


@row("GEGLU", source="flax.nnx", x=VECTORS)
def geglu():
    return wl.from_flax(lambda width, rngs: GLU(width, nnx.gelu, rngs))


@row("SwiGLU", source="flax.nnx", x=VECTORS)
def swiglu():
    return wl.from_flax(lambda width, rngs: GLU(width, nnx.silu, rngs))


@row("ReGLU", source="flax.nnx", x=VECTORS)
def reglu():
    return wl.from_flax(lambda width, rngs: GLU(width, nnx.relu, rngs))


@row("GLU", source="jax", x=VECTORS)
def glu():
    def apply(p, x):
        return jax.nn.glu(jnp.tanh(x @ p["w"]) @ p["u"]) @ p["v"]

    return wl.Network(
        parameters(w=lambda n: (10, n), u=lambda n: (n, 2 * n), v=lambda n: (n, 1)),
        apply,
    )


class Highway(eqx.Module):
    embed: jax.Array
    gates: list
    layers: list
    out: eqx.nn.Linear

    def __init__(self, width, key):
        keys = jax.random.split(key, 6)
        self.embed = jax.random.normal(keys[0], (width, 10)) / 10**0.5
        self.gates = [eqx.nn.Linear(width, width, key=k) for k in keys[1:3]]
        self.layers = [eqx.nn.Linear(width, width, key=k) for k in keys[3:5]]
        self.out = eqx.nn.Linear(width, 1, key=keys[5])

    def __call__(self, x):
        h = self.embed @ x
        for gate, layer in zip(self.gates[:1], self.layers[:1], strict=True):
            t = jax.nn.sigmoid(gate(h) - 1)
            h = t * jnp.tanh(layer(h)) + (1 - t) * h
        return self.out(h)


@row("highway", source="equinox", x=VECTORS)
def highway():
    return wl.from_equinox(lambda width, key: Highway(width, key))


class SqueezeExcite(nnx.Module):
    """Hu et al. (2018): channels are weighted by a network of their averages over the image."""

    def __init__(self, width, rngs):
        self.conv = nnx.Conv(2, width, (3, 3), kernel_init=nnx.initializers.normal(18**-0.5), rngs=rngs)
        self.squeeze = nnx.Linear(width, width // 4, rngs=rngs)
        self.excite = nnx.Linear(width // 4, width, rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        h = self.conv(x)
        s = nnx.sigmoid(self.excite(nnx.relu(self.squeeze(h.mean((0, 1))))))
        return self.out((h * s).mean((0, 1)))


@row("squeeze-and-excite", source="flax.nnx", x=IMAGES)
def squeeze_excite():
    return wl.from_flax(lambda width, rngs: SqueezeExcite(width, rngs))


class FiLM(eqx.Module):
    """Perez et al. (2018): one part of the example scales and shifts the features of the other."""

    hidden: jax.Array
    scale: jax.Array
    shift: jax.Array
    out: eqx.nn.Linear

    def __init__(self, width, key):
        k = jax.random.split(key, 4)
        self.hidden = jax.random.normal(k[0], (width, 5)) / 5**0.5
        self.scale = jax.random.normal(k[1], (width, 5)) / 5**0.5
        self.shift = jax.random.normal(k[2], (width, 5)) / 5**0.5
        self.out = eqx.nn.Linear(width, 1, key=k[3])

    def __call__(self, x):
        signal, condition = x[:5], x[5:]
        h = (1 + self.scale @ condition) * (self.hidden @ signal) + self.shift @ condition
        return self.out(jax.nn.relu(h))


@row("features modulated by a condition (FiLM)", source="equinox", x=VECTORS, approximate=True)
def film():
    return wl.from_equinox(lambda width, key: FiLM(width, key))


ROUTER = np.random.default_rng(0).normal(size=(10, 3))


def experts(gates, **more):
    """Mixture of experts h ↦ Σ_e g_e φ(h W_e), with the gates g."""

    def apply(p, x):
        h = jax.nn.relu(x @ p["w"])
        values = jax.nn.relu(jnp.einsum("i,eij->ej", h, p["experts"]))
        return jnp.einsum("e,ej->j", gates(p, x, h), values) @ p["v"]

    shapes = {"w": lambda n: (10, n), "experts": lambda n: (3, n, n), "v": lambda n: (n, 1)} | more
    return wl.Network(parameters(**shapes), apply)


@row("mixture of experts, a fixed router", source="jax", x=VECTORS)
def fixed_router():
    return experts(lambda p, x, h: jax.nn.softmax(x @ ROUTER))


@row("mixture of experts, gate logits over n", source="jax", x=VECTORS)
def averaged_gates():
    return experts(lambda p, x, h: jax.nn.softmax(h @ p["gate"] / h.size**0.5), gate=lambda n: (n, 3))


@row("self-gating by a frozen number", source="jax", x=VECTORS, approximate=True)
def frozen_number():
    body = parameters(w=lambda n: (10, n), u=lambda n: (n, n), v=lambda n: (n, 1))

    def apply(p, x):
        h = x @ p["w"]
        h = h + p["alpha"] * jax.nn.relu(h @ p["u"])
        return h * jax.nn.sigmoid(h) @ p["v"]

    return wl.Network(lambda key, n: body(key, n) | {"alpha": jnp.asarray(0.5)}, apply, frozen=["alpha"])
