"""Random compositions of layers, branches, norms, gates, sharing and pooling have the limit that sampled networks tend to."""

import warnings

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import widelimit as wl
from random_networks import BRANCHES, FEATURES, POSITIONS, READOUTS, STEPS, network

X = np.random.default_rng(3).normal(size=(2, POSITIONS, FEATURES))


def assert_verified(recipe, readout="all", *, accuracy=0.02, seed=0, **options):
    net = network(recipe, readout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wl.ApproximationWarning)  # of expectations less accurate than the sampling
        kernel = wl.limit(net, X[0], accuracy=1e-3)
        options = {"widths": (32, 64, 128), "cost": 5e7} | options
        report = wl.verify(net, X, key=jax.random.key(seed), kernel=kernel, accuracy=accuracy, **options)
    jax.clear_caches()  # no two networks share a program, and a process may map only so many
    assert report.passed, f"{recipe} read out by {readout}:\n{report}"


names = st.sampled_from(sorted(STEPS))
recipes = st.recursive(
    st.lists(names, min_size=1, max_size=3),
    lambda inner: st.lists(names | st.tuples(st.sampled_from(sorted(BRANCHES)), inner), min_size=1, max_size=4),
    max_leaves=4,
)


def searched(examples):
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.slow
@searched(100)
@given(recipe=recipes, readout=st.sampled_from(sorted(READOUTS)))
def test_random_networks(recipe, readout):
    assert_verified(recipe, readout)


ALWAYS = [
    (["weightnorm", "relu", ("residual", ["shared", "tanh"]), "shared"], "mean"),
    (["layernorm", ("gated", ["dense"]), "running", "halves"], "last"),
    ([("gated", ["recurrent"])], "mean"),
    ([("gated", ["pool"]), "pool", ("gated", ["recurrent"])], "mean"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "readout"), ALWAYS)
def test_some_networks(recipe, readout):
    assert_verified(recipe, readout, widths=(32, 64), accuracy=0.04, cost=1e7)
