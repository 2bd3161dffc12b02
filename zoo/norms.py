"""Normalisations: over the batch, over groups of channels, over positions, of the weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import widelimit as wl
from zoo._inputs import normal, unit
from zoo._row import row

VECTORS = unit(3, 10)
BATCHES = normal(2, 6, 4)  # the batch is the example
SEQUENCES = normal(2, 5, 4)
MORE_NOISE = {"verify": {"accuracy": 0.02}}  # functions of many Gaussians fluctuate more


def fixed(fan_in):
    return nnx.initializers.normal(fan_in**-0.5)


class FlaxBatchNorm(nnx.Module):
    def __init__(self, width, running, rngs):
        self.hidden = nnx.Linear(4, width, kernel_init=fixed(4), rngs=rngs)
        self.norm = nnx.BatchNorm(width, use_running_average=running, rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.tanh(self.norm(self.hidden(x))))


@row("batch normalisation in training", source="flax.nnx", x=BATCHES, approximate=True, **MORE_NOISE)
def flax_batch_norm():
    return wl.from_flax(lambda width, rngs: FlaxBatchNorm(width, False, rngs))


@row("batch normalisation in inference", source="flax.nnx", x=BATCHES)
def flax_batch_norm_in_inference():
    return wl.from_flax(lambda width, rngs: FlaxBatchNorm(width, True, rngs))


class EquinoxBatchNorm(eqx.Module):
    hidden: jax.Array
    norm: eqx.nn.BatchNorm
    out: eqx.nn.Linear

    def __init__(self, width, key):
        k1, k2 = jax.random.split(key)
        self.hidden = jax.random.normal(k1, (width, 4)) / 2
        self.norm = eqx.nn.BatchNorm(width, axis_name="batch", mode="batch")
        self.out = eqx.nn.Linear(width, 1, key=k2)

    def __call__(self, x, state, inference):
        h, state = self.norm(self.hidden @ x, state, inference=inference)
        return self.out(jnp.tanh(h)), state


class WithState(eqx.Module):
    model: EquinoxBatchNorm
    state: eqx.nn.State

    def __init__(self, width, key):
        self.model, self.state = eqx.nn.make_with_state(EquinoxBatchNorm)(width, key)

    def __call__(self, x, inference=False):
        over_batch = jax.vmap(self.model, axis_name="batch", in_axes=(0, None, None), out_axes=(0, None))
        return over_batch(x, self.state, inference)[0]


@row("batch normalisation in training", source="equinox", x=BATCHES, approximate=True, **MORE_NOISE)
def equinox_batch_norm():
    return wl.from_equinox(lambda width, key: WithState(width, key))


@row("batch normalisation in inference", source="equinox", x=BATCHES)
def equinox_batch_norm_in_inference():
    return wl.from_equinox(lambda width, key: WithState(width, key), call=lambda model, x: model(x, inference=True))


def with_batch_axis(model, x):
    """Group and instance normalisation of Flax take the first axis for a batch."""
    return model(x[None])[0]


class FlaxNormed(nnx.Module):
    def __init__(self, width, norm, rngs):
        self.hidden = nnx.Conv(4, width, (3,), kernel_init=fixed(12), rngs=rngs)
        self.norm = norm(width, rngs)
        self.middle = nnx.Conv(width, width, (1,), rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.middle(nnx.relu(self.norm(self.hidden(x))))).mean(-2))


@row("group normalisation", source="flax.nnx", x=SEQUENCES)
def flax_group_norm():
    norm = lambda width, rngs: nnx.GroupNorm(width, num_groups=4, rngs=rngs)  # noqa: E731
    return wl.from_flax(lambda width, rngs: FlaxNormed(width, norm, rngs), call=with_batch_axis)


@row("instance normalisation", source="flax.nnx", x=SEQUENCES, approximate=True, **MORE_NOISE)
def flax_instance_norm():
    norm = lambda width, rngs: nnx.InstanceNorm(width, rngs=rngs)  # noqa: E731
    return wl.from_flax(lambda width, rngs: FlaxNormed(width, norm, rngs), call=with_batch_axis)


@row("layer normalisation", source="flax.nnx", x=SEQUENCES)
def flax_layer_norm():
    norm = lambda width, rngs: nnx.LayerNorm(width, rngs=rngs)  # noqa: E731
    return wl.from_flax(lambda width, rngs: FlaxNormed(width, norm, rngs), call=with_batch_axis)


class EquinoxNormed(eqx.Module):
    hidden: jax.Array
    norm: eqx.Module
    middle: eqx.nn.Conv1d
    out: eqx.nn.Linear

    def __init__(self, width, norm, key):
        k = jax.random.split(key, 3)
        self.hidden = jax.random.normal(k[0], (width, 4)) / 2
        self.norm = norm(width)
        self.middle = eqx.nn.Conv1d(width, width, 3, padding=1, key=k[1])
        self.out = eqx.nn.Linear(width, 1, key=k[2])

    def __call__(self, x):
        h = self.middle(jax.nn.relu(self.norm(self.hidden @ x.T)))
        return self.out(jax.nn.relu(h).mean(-1))


class AtEachPosition(eqx.Module):
    norm: eqx.nn.RMSNorm

    def __init__(self, width):
        self.norm = eqx.nn.RMSNorm(width)

    def __call__(self, h):
        return jax.vmap(self.norm, in_axes=1, out_axes=1)(h)


@row("group normalisation", source="equinox", x=SEQUENCES)
def equinox_group_norm():
    return wl.from_equinox(lambda width, key: EquinoxNormed(width, lambda n: eqx.nn.GroupNorm(4, n), key))


@row("RMS normalisation", source="equinox", x=SEQUENCES)
def equinox_rms_norm():
    return wl.from_equinox(lambda width, key: EquinoxNormed(width, AtEachPosition, key))


@row("group normalisation, groups of eight channels", source="jax", x=VECTORS, approximate=True, **MORE_NOISE)
def groups_of_fixed_size():
    def init(key, n):
        k1, k2 = jax.random.split(key)
        return {"w": jax.random.normal(k1, (10, n)) / 10**0.5, "v": jax.random.normal(k2, (n, 1)) / n**0.5}

    def apply(p, x):
        groups = (x @ p["w"]).reshape(-1, 8)
        h = groups / jnp.sqrt(jnp.mean(groups**2, axis=-1, keepdims=True) + 1e-5)
        return jnp.tanh(h.ravel()) @ p["v"]

    return wl.Network(init, apply)


# --- normalised weights ---------------------------------------------------------------------------------------------------


@row("weight normalisation by hand, the gain trained", source="jax", x=VECTORS, approximate=True)
def weight_norm():
    def init(key, n):
        k = jax.random.split(key, 4)
        return {
            "w": jax.random.normal(k[0], (10, n)) / 10**0.5,
            "v": jax.random.normal(k[1], (n, n)),
            "g": 1 + 0.5 * jax.random.normal(k[2], (n,)),
            "out": jax.random.normal(k[3], (n, 1)) / n**0.5,
        }

    def apply(p, x):
        h = jax.nn.relu(x @ p["w"])
        h = jax.nn.relu(h @ (p["g"] * p["v"] / jnp.linalg.norm(p["v"], axis=0)))
        return h @ p["out"]

    return wl.Network(init, apply)


class FlaxWeightNorm(nnx.Module):
    def __init__(self, width, rngs):
        self.hidden = nnx.Conv(4, width, (3,), kernel_init=fixed(12), rngs=rngs)
        self.conv = nnx.WeightNorm(nnx.Conv(width, width, (3,), rngs=rngs), rngs=rngs)
        self.dense = nnx.WeightNorm(nnx.Linear(width, width, rngs=rngs), rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.dense(nnx.relu(self.conv(nnx.relu(self.hidden(x))))))).mean(-2)


@row("weight normalisation", source="flax.nnx", x=SEQUENCES)
def flax_weight_norm():
    return wl.from_flax(lambda width, rngs: FlaxWeightNorm(width, rngs))


class EquinoxWeightNorm(eqx.Module):
    hidden: jax.Array
    middle: eqx.nn.WeightNorm
    out: eqx.nn.WeightNorm

    def __init__(self, width, key):
        k = jax.random.split(key, 3)
        self.hidden = jax.random.normal(k[0], (width, 10)) / 10**0.5
        self.middle = eqx.nn.WeightNorm(eqx.nn.Linear(width, width, use_bias=False, key=k[1]))
        self.out = eqx.nn.WeightNorm(eqx.nn.Linear(width, 1, use_bias=False, key=k[2]))

    def __call__(self, x):
        return self.out(jax.nn.relu(self.middle(jax.nn.relu(self.hidden @ x))))


@row("weight normalisation", source="equinox", x=VECTORS)
def equinox_weight_norm():
    return wl.from_equinox(lambda width, key: EquinoxWeightNorm(width, key))


class Spectral(nnx.Module):
    def __init__(self, width, rngs):
        self.first = nnx.Linear(10, width, kernel_init=nnx.initializers.normal(10**-0.5), rngs=rngs)
        self.middle = nnx.SpectralNorm(nnx.Linear(width, width, rngs=rngs), rngs=rngs)
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.middle(nnx.relu(self.first(x)), update_stats=False)))


@row("spectral normalisation", source="flax.nnx", x=VECTORS, verify={"widths": (64, 128, 256)})
def spectral_norm():
    return wl.from_flax(lambda width, rngs: Spectral(width, rngs))


@row("weight standardisation", source="jax", x=VECTORS)
def weight_standardisation():
    def init(key, n):
        k = jax.random.split(key, 3)
        return {
            "w": jax.random.normal(k[0], (10, n)) / 10**0.5,
            "v": jax.random.normal(k[1], (n, n)),
            "out": jax.random.normal(k[2], (n, 1)) / n**0.5,
        }

    def apply(p, x):
        h = jax.nn.relu(x @ p["w"])
        v = p["v"] / jnp.sqrt(len(h) * jnp.var(p["v"], axis=0) + 1e-6)
        return jax.nn.relu(h @ v) @ p["out"]

    return wl.Network(init, apply)
