"""Perceptrons, as the libraries' own layers and initialisers make them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import widelimit as wl
from zoo._inputs import unit
from zoo._row import row

VECTORS = unit(3, 10)
LONG = unit(2, 32)  # long enough that a first layer of uniform entries is nearly Gaussian


@row("perceptron, NTK parametrisation", source="jax", x=VECTORS)
def perceptron():
    def init(key, n):
        k = jax.random.split(key, 4)
        return {
            "w1": jax.random.normal(k[0], (10, n)),
            "b1": jax.random.normal(k[1], (n,)),
            "w2": jax.random.normal(k[2], (n, n)),
            "v": jax.random.normal(k[3], (n, 1)),
        }

    def apply(p, x):
        h = jax.nn.relu(x @ p["w1"] / jnp.sqrt(10) + 0.1 * p["b1"])
        h = jax.nn.relu(h @ p["w2"] * jnp.sqrt(2 / h.shape[-1]))
        return h @ p["v"] / jnp.sqrt(h.shape[-1])

    return wl.Network(init, apply)


@row("perceptron, standard parametrisation, layers in a list", source="jax", x=VECTORS)
def list_of_layers():
    def init(key, n):
        sizes = (10, n, 2 * n, n, 1)
        keys = jax.random.split(key, len(sizes) - 1)
        return [
            (jax.random.normal(k, (i, o)) * (2 / i) ** 0.5, 0.1 * jax.random.normal(jax.random.fold_in(k, 1), (o,)))
            for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]

    def apply(layers, x):
        for w, b in layers[:-1]:
            x = jnp.tanh(x @ w + b)
        w, b = layers[-1]
        return x @ w + b

    return wl.Network(init, apply)


@row("perceptron, readout written as a sum", source="jax", x=VECTORS)
def readout_as_a_sum():
    def init(key, n):
        k1, k2 = jax.random.split(key)
        return {"w": jax.random.normal(k1, (10, n)), "v": jax.random.normal(k2, (n,))}

    def apply(p, x):
        h = jax.nn.relu(x @ p["w"] / 10**0.5)
        return jnp.sum(p["v"] * h) / h.size**0.5

    return wl.Network(init, apply)


@row("perceptron, learning rates by layer", source="jax", x=VECTORS, limit={"learning_rates": {"w": 0.0, "u": 2.0}})
def rates_by_layer():
    def init(key, n):
        k = jax.random.split(key, 3)
        return {
            "w": jax.random.normal(k[0], (10, n)),
            "u": jax.random.normal(k[1], (n, n)),
            "v": jax.random.normal(k[2], (n,)),
        }

    def apply(p, x):
        h = jax.nn.elu(x @ p["w"] / 10**0.5)
        h = jax.nn.elu(h @ p["u"] / h.size**0.5)
        return h @ p["v"] / h.size**0.5

    return wl.Network(init, apply)


class MLP(nnx.Module):
    def __init__(self, width, rngs, kernel=None, bias=None, use_bias=True, inputs=10):
        options = {"use_bias": use_bias, "rngs": rngs}
        options |= {} if kernel is None else {"kernel_init": kernel}
        options |= {} if bias is None else {"bias_init": bias}
        first = options | ({} if kernel else {"kernel_init": nnx.initializers.normal(inputs**-0.5)})
        self.hidden = nnx.Linear(inputs, width, **first)
        self.middle = nnx.Linear(width, width, **options)
        self.out = nnx.Linear(width, 1, **options)

    def __call__(self, x):
        return self.out(nnx.gelu(self.middle(nnx.gelu(self.hidden(x)))))


@row("perceptron, GELU", source="flax.nnx", x=VECTORS)
def flax_perceptron():
    return wl.from_flax(lambda width, rngs: MLP(width, rngs=rngs))


@row("perceptron without bias, He normal", source="flax.nnx", x=LONG, approximate=True)
def flax_he_normal():
    return wl.from_flax(lambda width, rngs: MLP(width, rngs, nnx.initializers.he_normal(), use_bias=False, inputs=32))


@row("perceptron, He uniform", source="flax.nnx", x=LONG, approximate=True)
def flax_he_uniform():
    return wl.from_flax(lambda width, rngs: MLP(width, rngs, nnx.initializers.he_uniform(), inputs=32))


@row("perceptron, Glorot uniform everywhere", source="flax.nnx", x=LONG, refused="shrinks like n^-1/2")
def flax_glorot_uniform():
    """The variance of the first layer, 2/(inputs + n), tends to zero."""
    return wl.from_flax(lambda width, rngs: MLP(width, rngs, nnx.initializers.glorot_uniform(), inputs=32))


class Glorot(MLP):
    def __init__(self, width, rngs):
        super().__init__(width, rngs, nnx.initializers.glorot_uniform(), use_bias=False)
        self.hidden = nnx.Linear(10, width, kernel_init=nnx.initializers.normal(10**-0.5), rngs=rngs)


@row("perceptron, Glorot uniform after the first layer", source="flax.nnx", x=VECTORS)
def flax_glorot_hidden():
    return wl.from_flax(lambda width, rngs: Glorot(width, rngs))


@row("perceptron, LeCun normal, normal biases", source="flax.nnx", x=LONG, approximate=True)
def flax_lecun_normal():
    normal = nnx.initializers.normal
    return wl.from_flax(lambda w, rngs: MLP(w, rngs, nnx.initializers.lecun_normal(), normal(0.5), inputs=32))


@row(
    "perceptron, constant biases, trained", source="flax.nnx", x=VECTORS, limit={"learning_rates": {"hidden/bias": 1.0}}
)
def flax_constant_bias():
    normal, constant = nnx.initializers.variance_scaling(2.0, "fan_in", "normal"), nnx.initializers.constant(0.1)
    return wl.from_flax(lambda width, rngs: MLP(width, rngs, normal, constant))


class Sequential(nnx.Module):
    def __init__(self, width, rngs):
        init = nnx.initializers.normal(10**-0.5)
        self.layers = nnx.Sequential(
            nnx.Linear(10, width, kernel_init=init, rngs=rngs),
            nnx.leaky_relu,
            nnx.Linear(width, width, rngs=rngs),
            nnx.silu,
            nnx.Linear(width, 2, rngs=rngs),
        )

    def __call__(self, x):
        return self.layers(x)


@row("perceptron, Sequential, two outputs", source="flax.nnx", x=VECTORS)
def flax_sequential():
    return wl.from_flax(lambda width, rngs: Sequential(width, rngs))


@row("perceptron, eqx.nn.MLP, uniform", source="equinox", x=LONG, approximate=True)
def equinox_mlp():
    return wl.from_equinox(lambda width, key: eqx.nn.MLP(32, 1, width, 2, activation=jax.nn.tanh, key=key))


@row("perceptron, eqx.nn.MLP, scalar output", source="equinox", x=LONG, approximate=True)
def equinox_scalar():
    return wl.from_equinox(lambda width, key: eqx.nn.MLP(32, "scalar", width, 1, activation=jax.nn.gelu, key=key))


class Linears(eqx.Module):
    first: jax.Array
    layers: list
    out: eqx.nn.Linear

    def __init__(self, width, key):
        keys = jax.random.split(key, 4)
        self.first = jax.random.normal(keys[0], (width, 10)) / 10**0.5
        self.layers = [eqx.nn.Linear(width, width, use_bias=False, key=k) for k in keys[1:3]]
        self.out = eqx.nn.Linear(width, 1, use_bias=False, key=keys[3])

    def __call__(self, x):
        h = jax.nn.relu(self.first @ x)
        for layer in self.layers:
            h = jax.nn.relu(layer(h))
        return self.out(h)


# three ReLU layers: below a width of 64 the mean's second order, 1/n², is seen
@row(
    "perceptron, eqx.nn.Linear without bias",
    source="equinox",
    x=VECTORS,
    verify={"widths": (64, 128, 256), "cost": 1e9},
)
def equinox_linears():
    return wl.from_equinox(lambda width, key: Linears(width, key))


class WithPReLU(eqx.Module):
    first: jax.Array
    prelu: eqx.nn.PReLU
    out: eqx.nn.Linear

    def __init__(self, width, key):
        k1, k2 = jax.random.split(key)
        self.first = jax.random.normal(k1, (width, 10)) / 10**0.5
        self.prelu = eqx.nn.PReLU(0.2)
        self.out = eqx.nn.Linear(width, 1, key=k2)

    def __call__(self, x):
        return self.out(self.prelu(self.first @ x))


@row("perceptron, PReLU with a frozen slope", source="equinox", x=VECTORS)
def equinox_prelu():
    return wl.from_equinox(lambda width, key: WithPReLU(width, key))
