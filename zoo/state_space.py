"""Linear state-space layers: diagonal, real and complex, by a loop and by a parallel scan."""

import jax
import jax.numpy as jnp

import widelimit as wl
from zoo._inputs import normal
from zoo._row import row

SEQUENCES = normal(2, 3, 4)


@row("state space, real diagonal", source="jax", x=SEQUENCES)
def real_diagonal():
    """h_t = a ⊙ h_{t−1} + B x_t with a = σ(ν), y_t = C h_t: an exponential moving average in every channel."""

    def init(key, n):
        k = jax.random.split(key, 4)
        return {
            "nu": 1.0 + jax.random.normal(k[0], (n,)),
            "b": jax.random.normal(k[1], (4, n)),
            "c": jax.random.normal(k[2], (n, n)),
            "v": jax.random.normal(k[3], (n, 1)),
        }

    def apply(p, x):
        decay = jax.nn.sigmoid(p["nu"])

        def step(h, u):
            h = decay * h + u
            return h, h

        _, h = jax.lax.scan(step, jnp.zeros_like(decay), x @ p["b"] / 2.0)
        y = jax.nn.relu(h @ p["c"] / jnp.sqrt(h.shape[-1]))
        return y.mean(0) @ p["v"] / jnp.sqrt(h.shape[-1])

    return wl.Network(init, apply)


def recurrent_unit_init(key, n):
    k = jax.random.split(key, 7)
    return {
        "nu": -1.0 + 0.3 * jax.random.normal(k[0], (n,)),
        "theta": 0.5 * jax.random.normal(k[1], (n,)),
        "b_re": jax.random.normal(k[2], (4, n)),
        "b_im": jax.random.normal(k[3], (4, n)),
        "c_re": jax.random.normal(k[4], (n, n)),
        "c_im": jax.random.normal(k[5], (n, n)),
        "v": jax.random.normal(k[6], (n, 1)),
    }


def eigenvalues(p):
    """λ = exp(−exp(ν) + iθ)."""
    return jnp.exp(-jnp.exp(p["nu"]) + 1j * p["theta"])


def driven(p, x):
    """B x with a complex B."""
    return x @ (p["b_re"] + 1j * p["b_im"]) / jnp.sqrt(2 * x.shape[-1])


def read_out(p, h):
    y = jax.nn.relu((h @ (p["c_re"] + 1j * p["c_im"])).real / jnp.sqrt(h.shape[-1]))
    return y.mean(0) @ p["v"] / jnp.sqrt(h.shape[-1])


@row("state space, complex diagonal, parallel scan", source="jax", x=SEQUENCES)
def linear_recurrent_unit():
    """The linear recurrent unit of Orvieto et al. (2023)."""

    def apply(p, x):
        decay = eigenvalues(p)
        u = jnp.sqrt(1 - jnp.abs(decay) ** 2) * driven(p, x)

        def join(a, b):
            return a[0] * b[0], b[0] * a[1] + b[1]

        _, h = jax.lax.associative_scan(join, (jnp.broadcast_to(decay, u.shape), u))
        return read_out(p, h)

    return wl.Network(recurrent_unit_init, apply)


@row("state space, complex diagonal, loop", source="jax", x=SEQUENCES)
def complex_loop():
    """S4D as a recurrence, with the step 1: h_t = e^A h_{t−1} + B x_t."""

    def apply(p, x):
        decay, u = eigenvalues(p), driven(p, x)

        def step(h, u):
            h = decay * h + u
            return h, h

        _, h = jax.lax.scan(step, jnp.zeros_like(u[0]), u)
        return read_out(p, h)

    return wl.Network(recurrent_unit_init, apply)
