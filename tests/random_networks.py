"""Networks made at random: what the property test draws, and the networks that it once found wrong.

A recipe is a sequence of steps on hidden vectors h, (positions, n): names of the functions below, or pairs of a name and
a recipe (a branch that is added, gates, or is concatenated). "shared" and "transposed" use one matrix wherever they stand.
"""

import jax
import jax.numpy as jnp

import widelimit as wl

POSITIONS, FEATURES = 2, 3


class Parameters:
    """Hands out parameters: their shapes the first time that the network is walked through, afterwards their values."""

    def __init__(self, values=None):
        self.values, self.shapes, self.count = values, {}, 0

    def __call__(self, *shape, name=None):
        if name is None:
            name, self.count = f"p{self.count}", self.count + 1
        self.shapes[name] = shape
        return jnp.zeros(shape) if self.values is None else self.values[name]


def dense(p, h, x):
    return h @ p(h.shape[-1], h.shape[-1]) / h.shape[-1] ** 0.5


def shared(p, h, x):
    return h @ p(h.shape[-1], h.shape[-1], name="shared") / h.shape[-1] ** 0.5


def transposed(p, h, x):
    return h @ p(h.shape[-1], h.shape[-1], name="shared").T / h.shape[-1] ** 0.5


def bias(p, h, x):
    return h + 0.5 * p(h.shape[-1])


def gain(p, h, x):
    return h * (1 + 0.3 * p(h.shape[-1]))


def relu(p, h, x):
    return jax.nn.relu(h) * 2**0.5


def tanh(p, h, x):
    return jnp.tanh(h)


def sine(p, h, x):
    return jnp.sin(h) + 0.5 * jnp.cos(h)


def layernorm(p, h, x):
    mean = h.mean(-1, keepdims=True)
    return (h - mean) * jax.lax.rsqrt(((h - mean) ** 2).mean(-1, keepdims=True) + 1e-2)


def rmsnorm(p, h, x):
    return h / jnp.sqrt(jnp.square(h).mean(-1, keepdims=True) + 1e-2)


def groupnorm(p, h, x):
    groups = h.reshape(len(h), 2, -1)
    return (groups / jnp.sqrt((groups**2).mean((0, 2), keepdims=True) + 1e-2)).reshape(h.shape)


def weightnorm(p, h, x):
    v = p(h.shape[-1], h.shape[-1])
    return h @ (v / jnp.linalg.norm(v, axis=0))


def gate(p, h, x):
    return h * jax.nn.sigmoid(dense(p, h, x))


def halves(p, h, x):
    """A gated linear unit."""
    a, b = jnp.split(h @ p(h.shape[-1], 2 * h.shape[-1]) / h.shape[-1] ** 0.5, 2, axis=-1)
    return a * jnp.tanh(b)


def pool(p, h, x):
    return h + h.mean(0)


def running(p, h, x):
    return jnp.cumsum(h, axis=0) / 2**0.5


def shift(p, h, x):
    return jnp.roll(h, 1, axis=0)


def mix(p, h, x):
    """Attention by what the example determines."""
    return jax.nn.softmax(x @ x.T) @ h


def attention(p, h, x):
    """Tied queries and keys, logits over n."""
    q = dense(p, h, x)
    return jax.nn.softmax(q @ q.T / h.shape[-1]) @ h


def largest(p, h, x):
    return jnp.maximum(h, h[::-1])


def excite(p, h, x):
    """Channels weighted by a function of their means over positions."""
    return h * jax.nn.sigmoid(dense(p, jax.nn.relu(h.mean(0)), x))


def recurrent(p, h, x):
    w, u = (p(h.shape[-1], h.shape[-1]) / h.shape[-1] ** 0.5 for _ in range(2))

    def step(carry, row):
        carry = jnp.tanh(0.8 * carry @ w + row @ u)
        return carry, carry

    return jax.lax.scan(step, jnp.zeros(h.shape[-1]), h)[1]


STEPS = {
    f.__name__: f
    for f in (
        *(dense, shared, transposed, bias, gain, relu, tanh, sine, layernorm, rmsnorm, groupnorm, weightnorm, gate),
        *(halves, pool, running, shift, mix, attention, largest, excite, recurrent),
    )
}
BRANCHES = {
    "residual": lambda p, h, branch: (h + branch) / 2**0.5,
    "gated": lambda p, h, branch: h * jax.nn.sigmoid(branch),
    "concatenated": lambda p, h, branch: dense_of(p, jnp.concatenate([h, branch], axis=-1), h.shape[-1]),
}


def dense_of(p, h, size):
    return h @ p(h.shape[-1], size) / h.shape[-1] ** 0.5


def walk(recipe, p, h, x):
    for step in recipe:
        if isinstance(step, str):
            h = STEPS[step](p, h, x)
        else:
            name, inner = step
            h = BRANCHES[name](p, h, walk(inner, p, h, x))
    return h


READOUTS = {"all": lambda f: f, "mean": lambda f: f.mean(0), "last": lambda f: f[-1]}


def network(recipe, readout="all"):
    """The network of a recipe; its parameters are standard normal."""

    def run(p, x, n):
        h = x @ p(FEATURES, n, name="embedding") / FEATURES**0.5
        h = walk(recipe, p, h, x)
        return READOUTS[readout](h @ p(n, name="readout") / n**0.5)

    def init(key, n):
        p = Parameters()
        jax.eval_shape(lambda: run(p, jnp.zeros((POSITIONS, FEATURES)), n))
        keys = jax.random.split(key, len(p.shapes))
        return {name: jax.random.normal(k, s) for k, (name, s) in zip(keys, p.shapes.items(), strict=True)}

    return wl.Network(init, lambda params, x: run(Parameters(params), x, params["readout"].shape[0]))
