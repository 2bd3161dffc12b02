"""The particle engine against the recursion: two derivations of one limit that share no code but the program."""

import jax
import numpy as np

import networks
import widelimit as wl

X = np.random.default_rng(0).normal(size=(3, 4))


def scores(net, x, particles=2**13, **options):
    """The largest |z| of the particle engine's NNGP and NTK against the recursion."""
    example = jax.tree.map(lambda a: a[0], x)
    exact = wl.limit(net, example, **options)(x)
    kernel = wl.limit(net, example, engine="particles", particles=particles, **options)
    found, errors = kernel(x), kernel.errors(x)
    return [
        float(np.max(np.abs(a - b) / np.maximum(s, 1e-9 * np.abs(a).max())))
        for a, b, s in zip(exact, found, errors, strict=True)
    ]


def assert_agrees(net, x, **options):
    assert max(scores(net, x, **options)) < 5


def test_perceptron():
    assert_agrees(networks.mlp(jax.nn.relu, inputs=4, layers=2), X)
