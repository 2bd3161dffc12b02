"""Coordinate networks: sinusoidal, random features, radial; the input has few entries."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import widelimit as wl
from zoo._inputs import normal
from zoo._row import row

POINTS = normal(3, 2)


@row("SIREN, normal first layer", source="jax", x=0.3 * POINTS)
def siren():
    """Sitzmann et al. (2020): sin(ω₀ (W x + b)), hidden weights uniform of variance 2/(n ω₀²)."""
    omega = 5.0

    def init(key, n):
        k = jax.random.split(key, 4)
        bound = (6 / n) ** 0.5 / omega
        return {
            "w1": jax.random.normal(k[0], (2, n)) / 2,
            "b1": 0.1 * jax.random.normal(k[1], (n,)),
            "w2": jax.random.uniform(k[2], (n, n), minval=-bound, maxval=bound),
            "out": jax.random.uniform(k[3], (n, 1), minval=-bound, maxval=bound),
        }

    def apply(p, x):
        h = jnp.sin(omega * (x @ p["w1"] + p["b1"]))
        h = jnp.sin(omega * (h @ p["w2"]))
        return h @ p["out"]

    return wl.Network(init, apply)


@row("random Fourier features, sine and cosine", source="jax", x=POINTS, limit={"learning_rates": {"frequencies": 0.0}})
def fourier_features():
    """Tancik et al. (2020): frozen frequencies, then a perceptron."""

    def init(key, n):
        k = jax.random.split(key, 3)
        return {
            "frequencies": jax.random.normal(k[0], (2, n)),
            "w": jax.random.normal(k[1], (2 * n, n)) / n**0.5,
            "v": jax.random.normal(k[2], (n, 1)) / n**0.5,
        }

    def apply(p, x):
        z = x @ p["frequencies"]
        features = jnp.concatenate([jnp.cos(z), jnp.sin(z)], axis=-1)
        return jax.nn.relu(features @ p["w"]) @ p["v"]

    return wl.Network(init, apply)


@row("random Fourier features, random phase", source="jax", x=POINTS, approximate=True)
def random_phase():
    """Rahimi and Recht (2007): √2 cos(w x + b), b uniform on a period."""

    def init(key, n):
        k = jax.random.split(key, 3)
        return {
            "w": jax.random.normal(k[0], (2, n)),
            "b": jax.random.uniform(k[1], (n,), maxval=2 * jnp.pi),
            "v": jax.random.normal(k[2], (n, 1)) / n**0.5,
        }

    def apply(p, x):
        return jnp.sqrt(2.0) * jnp.cos(x @ p["w"] + p["b"]) @ p["v"]

    return wl.Network(init, apply)


@row("radial network", source="jax", x=POINTS, approximate=True)
def radial():
    """Σ_j v_j exp(−|x − c_j|²/2) with normal centres."""

    def init(key, n):
        k1, k2 = jax.random.split(key)
        return {"centres": jax.random.normal(k1, (n, 2)), "v": jax.random.normal(k2, (n,)) / n**0.5}

    def apply(p, x):
        distances = jnp.sum((x - p["centres"]) ** 2, axis=-1)
        return jnp.exp(-distances / 2) @ p["v"]

    return wl.Network(init, apply)


class Coordinates(nnx.Module):
    """A perceptron on the sines and cosines of the coordinates at fixed frequencies (NeRF)."""

    def __init__(self, width, rngs):
        self.hidden = nnx.Linear(12, width, kernel_init=nnx.initializers.normal(12**-0.5), rngs=rngs)
        self.skip = nnx.Linear(width + 12, width, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        angles = jnp.outer(x, 2.0 ** jnp.arange(3)).ravel()
        encoding = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
        h = nnx.relu(self.hidden(encoding))
        return self.out(nnx.relu(self.skip(jnp.concatenate([h, encoding]))))


@row("positional encoding with a skip connection", source="flax.nnx", x=POINTS)
def positional_encoding():
    return wl.from_flax(lambda width, rngs: Coordinates(width, rngs))


class Gabor(eqx.Module):
    """Multiplicative filter network of Fathony et al. (2021): z ↦ (W z) ⊙ sin(Ω x + φ)."""

    filters: list
    mix: eqx.nn.Linear
    out: eqx.nn.Linear

    def __init__(self, width, key):
        k = jax.random.split(key, 4)
        self.filters = [jax.random.normal(a, (width, 2)) for a in k[:2]]
        self.mix = eqx.nn.Linear(width, width, use_bias=False, key=k[2])
        self.out = eqx.nn.Linear(width, 1, use_bias=False, key=k[3])

    def __call__(self, x):
        z = jnp.sin(self.filters[0] @ x)
        z = self.mix(z) * jnp.sin(self.filters[1] @ x)
        return self.out(z)


@row("multiplicative filters", source="equinox", x=POINTS)
def multiplicative_filters():
    return wl.from_equinox(lambda width, key: Gabor(width, key))
