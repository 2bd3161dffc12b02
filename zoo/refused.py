"""Networks that are no Gaussian process in this limit, each with the reason that is given, and what mends it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import widelimit as wl
from zoo._inputs import normal, unit
from zoo._row import row
from zoo.gates import experts, parameters

VECTORS = unit(3, 10)
SEQUENCES = normal(2, 4, 5)
TWO_LAYERS = {"w": lambda n: (10, n), "u": lambda n: (n, n), "v": lambda n: (n, 1)}


def with_number(apply, value=1.0, **shapes):
    """A network with one trainable number, `alpha`."""
    body = parameters(**(shapes or TWO_LAYERS))
    return wl.Network(lambda key, n: body(key, n) | {"alpha": jnp.asarray(value)}, apply)


# --- a finite number of random numbers --------------------------------------------------------------------------------------


def bottleneck(size):
    def apply(p, x):
        h = jax.nn.relu(x @ p["w"])
        return jax.nn.relu(jax.nn.relu(h @ p["down"]) @ p["up"]) @ p["v"]

    shapes = {
        "w": lambda n: (10, n),
        "down": lambda n: (n, size(n)),
        "up": lambda n: (size(n), n),
        "v": lambda n: (n, 1),
    }
    return wl.Network(parameters(**shapes), apply)


@row("bottleneck of four", source="jax", x=VECTORS, refused="a bottleneck that does not widen")
def narrow():
    return bottleneck(lambda n: 4)


@row("bottleneck of a quarter of the width", source="jax", x=VECTORS)
def proportional():
    return bottleneck(lambda n: n // 4)


class LoRA(eqx.Module):
    """x ↦ W x + B A x / √rank, with B = 0 at first (Hu et al., 2021; Kalajdzievski, 2023)."""

    weight: jax.Array
    a: jax.Array
    b: jax.Array

    def __init__(self, width, rank, key):
        k1, k2 = jax.random.split(key)
        self.weight = jax.random.normal(k1, (width, width)) / width**0.5
        self.a, self.b = jax.random.normal(k2, (rank, width)) / width**0.5, jnp.zeros((width, rank))

    def __call__(self, x):
        return self.weight @ x + self.b @ (self.a @ x) / len(self.a) ** 0.5


class Adapted(eqx.Module):
    first: jax.Array
    adapted: LoRA
    out: jax.Array

    def __init__(self, width, rank, key):
        k = jax.random.split(key, 3)
        self.first = jax.random.normal(k[0], (width, 10)) / 10**0.5
        self.adapted = LoRA(width, rank, k[1])
        self.out = jax.random.normal(k[2], (1, width)) / width**0.5

    def __call__(self, x):
        return self.out @ jax.nn.relu(self.adapted(jax.nn.relu(self.first @ x)))


ADAPTERS = {"adapted/b": 1.0, "first": 0.0, "adapted/weight": 0.0, "out": 0.0}


@row(
    "LoRA of rank four, its second factor trained",
    source="equinox",
    x=VECTORS,
    refused="a bottleneck that does not widen",
    limit={"learning_rates": ADAPTERS},
)
def adapter():
    return wl.from_equinox(lambda width, key: Adapted(width, 4, key))


@row("LoRA of a quarter of the width", source="equinox", x=VECTORS, limit={"learning_rates": ADAPTERS})
def wide_adapter():
    return wl.from_equinox(lambda width, key: Adapted(width, width // 4, key))


@row(
    "residual gate, trained",
    source="jax",
    x=VECTORS,
    refused="a residual gate",
    limit={"learning_rates": {"alpha": 1.0}},
)
def residual_gate():
    def apply(p, x):
        h = x @ p["w"]
        return (h + p["alpha"] * jnp.tanh(h @ p["u"])) @ p["v"]

    return with_number(apply)


@row("residual gate, frozen", source="jax", x=VECTORS, limit={"learning_rates": {"alpha": 0.0}})
def frozen_residual_gate():
    return residual_gate()


@row("a gate for every channel, trained", source="jax", x=VECTORS)
def gate_of_channels():
    body = parameters(**TWO_LAYERS)

    def apply(p, x):
        h = x @ p["w"]
        return (h + p["alpha"] * jnp.tanh(h @ p["u"])) @ p["v"]

    return wl.Network(
        lambda key, n: body(key, n) | {"alpha": jax.random.normal(jax.random.fold_in(key, 99), (n,))}, apply
    )


@row(
    "temperature of the output, trained",
    source="jax",
    x=VECTORS,
    refused="a temperature",
    limit={"learning_rates": 1.0},
)
def temperature():
    def init(key, n):
        k1, k2 = jax.random.split(key)
        return {"w": jax.random.normal(k1, (10, n)), "v": jax.random.normal(k2, (n,)), "alpha": jnp.ones(())}

    return wl.Network(init, lambda p, x: p["alpha"] * (jax.nn.relu(x @ p["w"]) @ p["v"]) / p["v"].size ** 0.5)


class WithPReLU(nnx.Module):
    def __init__(self, width, rngs):
        self.first = nnx.Linear(10, width, kernel_init=nnx.initializers.normal(10**-0.5), rngs=rngs)
        self.prelu = nnx.PReLU(0.25)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(self.prelu(self.first(x)))


@row(
    "PReLU, its slope trained",
    source="flax.nnx",
    x=VECTORS,
    refused="'prelu/negative_slope' holds random or trained numbers",
    limit={"learning_rates": {"prelu/negative_slope": 1.0}},
)
def prelu():
    return wl.from_flax(lambda width, rngs: WithPReLU(width, rngs))


@row("PReLU, its slope frozen", source="flax.nnx", x=VECTORS)
def frozen_prelu():
    return prelu()


@row(
    "mixture of experts, gate logits over √n",
    source="jax",
    x=VECTORS,
    refused="are shared by every coordinate of a wide vector",
)
def random_gates():
    return experts(lambda p, x, h: jax.nn.softmax(h @ p["gate"]), gate=lambda n: (n, 3))


@row("mixture of experts, a trained router", source="jax", x=VECTORS, refused="from the parameters 'gate' are shared")
def trained_router():
    return experts(lambda p, x, h: jax.nn.softmax(x @ p["gate"]), gate=lambda n: (10, 3))


@row(
    "positions added to attention logits, trained",
    source="jax",
    x=SEQUENCES,
    refused="from the parameters 'table' are shared",
)
def relative_positions():
    def apply(p, x):
        q, k, v = (x @ p[name] for name in ("q", "k", "w"))
        attention = jax.nn.softmax(q @ k.T / q.shape[-1] + p["table"])
        return (jnp.tanh(attention @ v) @ p["v"]).mean(0)

    shapes = {
        "q": lambda n: (5, n),
        "k": lambda n: (5, n),
        "w": lambda n: (5, n),
        "table": lambda n: (4, 4),
        "v": lambda n: (n, 1),
    }
    return wl.Network(parameters(**shapes), apply)


# --- weights that are not drawn ---------------------------------------------------------------------------------------------


@row("hypernetwork of all weights", source="jax", x=VECTORS, refused="as a hypernetwork makes them")
def hypernetwork():
    def apply(p, x):
        h = jax.nn.relu(x @ p["w"])
        weights = (x @ p["maker"]).reshape(h.size, -1) / h.size**0.5
        return jax.nn.relu(h @ weights) @ p["v"]

    return wl.Network(parameters(w=lambda n: (10, n), maker=lambda n: (10, n * n), v=lambda n: (n, 1)), apply)


@row("hypernetwork of the first layer", source="jax", x=VECTORS)
def hypernetwork_of_inputs():
    def apply(p, x):
        weights = (jax.nn.relu(x @ p["w"]) @ p["maker"]).reshape(10, -1)
        return jax.nn.relu(x @ weights / 10**0.5) @ p["v"]

    return wl.Network(parameters(w=lambda n: (10, n), maker=lambda n: (n, 10 * n), v=lambda n: (n, 1)), apply)


class Dropout(nnx.Module):
    def __init__(self, width, deterministic, rngs):
        self.first = nnx.Linear(10, width, kernel_init=nnx.initializers.normal(10**-0.5), rngs=rngs)
        self.dropout = nnx.Dropout(0.5, deterministic=deterministic, rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(nnx.relu(self.first(x))))


@row(
    "dropout while the network is applied",
    source="flax.nnx",
    x=VECTORS,
    refused="random numbers are drawn while the network",
)
def dropout():
    return wl.from_flax(lambda width, rngs: Dropout(width, False, rngs))


@row("dropout in evaluation mode", source="flax.nnx", x=VECTORS)
def no_dropout():
    return wl.from_flax(lambda width, rngs: Dropout(width, True, rngs))


# --- no coordinatewise function ---------------------------------------------------------------------------------------------


def over_the_width(function):
    def apply(p, x):
        h = x @ p["w"]
        return function(h) @ p["v"]

    return wl.Network(parameters(w=lambda n: (10, n), v=lambda n: (n, 1)), apply)


@row("softmax over the width", source="jax", x=VECTORS, refused="a softmax over the width shifts by its maximum")
def softmax():
    return over_the_width(lambda h: h.size * jax.nn.softmax(h))


# heavy tails: the order beyond 1/n counts at small widths
@row("exponentials over their mean", source="jax", x=VECTORS, verify={"widths": (256, 512, 1024), "cost": 1e9})
def exponentials():
    return over_the_width(lambda h: jnp.exp(h) / jnp.exp(h).mean())


@row("the largest coordinate only", source="jax", x=VECTORS, refused="Over the width it is no coordinatewise function")
def winner():
    return over_the_width(lambda h: h * jax.nn.one_hot(jnp.argmax(h), h.size))


@row("the largest of every two coordinates", source="jax", x=VECTORS)
def maxout():
    def apply(p, x):
        return (x @ p["w"]).reshape(-1, 2).max(-1) @ p["v"]

    return wl.Network(parameters(w=lambda n: (10, 2 * n), v=lambda n: (n, 1)), apply)


@row("sorted coordinates", source="jax", x=VECTORS, refused="Over the width it is no coordinatewise function")
def sort():
    return over_the_width(jnp.sort)


@row("an output through a softmax", source="jax", x=VECTORS, refused="is a nonlinear function of Gaussians")
def probabilities():
    def apply(p, x):
        return jax.nn.softmax(jax.nn.relu(x @ p["w"]) @ p["v"])

    return wl.Network(parameters(w=lambda n: (10, n), v=lambda n: (n, 3)), apply)
