"""Networks of sets: what they say does not depend on the order of the elements."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

import widelimit as wl
from zoo._inputs import unit
from zoo._row import KEEPING_LAWS, row

POINTS = unit(3, 4, 3)


class DeepSets(nnx.Module):
    """Zaheer et al. (2017): ρ(Σ_i φ(x_i))."""

    def __init__(self, width, rngs):
        self.first = nnx.Linear(3, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.third = nnx.Linear(width, width, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        h = self.second(nnx.relu(self.first(x))).sum(0)
        return self.head(nnx.relu(self.third(nnx.relu(h))))


@row("DeepSets", source="flax.nnx", x=POINTS, approximate=True)
def deep_sets():
    return wl.from_flax(lambda width, rngs: DeepSets(width, rngs=rngs))


class Equivariant(eqx.Module):
    """An equivariant layer, x_i Λ + mean(x) Γ, before the invariant one."""

    own: eqx.nn.Linear
    mean: eqx.nn.Linear
    inner: eqx.nn.Linear
    head: eqx.nn.Linear

    def __init__(self, width, key):
        k = jax.random.split(key, 4)
        self.own = eqx.nn.Linear(3, width, key=k[0])
        self.mean = eqx.nn.Linear(3, width, use_bias=False, key=k[1])
        self.inner = eqx.nn.Linear(width, width, key=k[2])
        self.head = eqx.nn.Linear(width, 1, key=k[3])

    def __call__(self, x):
        h = jax.nn.gelu(jax.vmap(self.own)(x) + self.mean(x.mean(0)))
        return self.head(jax.nn.gelu(jax.vmap(self.inner)(h)).sum(0))


@row("equivariant DeepSets", source="equinox", x=POINTS, limit=KEEPING_LAWS)
def equivariant():
    return wl.from_equinox(lambda width, key: Equivariant(width, key=key))


class PointNet(nnx.Module):
    """Qi et al. (2017): a perceptron of each point, the maximum over the points, another perceptron."""

    def __init__(self, width, rngs):
        self.first = nnx.Linear(3, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.third = nnx.Linear(width, width, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        h = self.second(nnx.relu(self.first(x)))
        return self.head(nnx.relu(self.third(jnp.max(nnx.relu(h), axis=0))))


@row("PointNet", source="flax.nnx", x=POINTS, approximate=True)
def point_net():
    return wl.from_flax(lambda width, rngs: PointNet(width, rngs=rngs))


class SetTransformer(nnx.Module):
    """Lee et al. (2019): attention between the elements, logits by 1/d, then their mean."""

    def __init__(self, width, rngs):
        self.embed = nnx.Linear(3, width, rngs=rngs)
        self.query, self.key, self.value = (nnx.Linear(width, width, rngs=rngs) for _ in range(3))
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.inner = nnx.Linear(width, width, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        h = self.embed(x)
        attention = nnx.softmax(self.query(h) @ self.key(h).T / h.shape[-1])
        h = self.norm(h + attention @ self.value(h))
        return self.head((h + nnx.relu(self.inner(h))).mean(0))


@row("set transformer", source="flax.nnx", x=POINTS, approximate=True)
def set_transformer():
    return wl.from_flax(lambda width, rngs: SetTransformer(width, rngs=rngs))
