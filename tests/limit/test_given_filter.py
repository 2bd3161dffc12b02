"""A nonlinearity of a depthwise convolution: an expectation given the filter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import widelimit as wl
from networks import drawn, readout, relu
from widelimit.limit import _recursion

X = np.random.default_rng(0).normal(size=(2, 4, 4))


def conv(x, w, groups=1):
    return lax.conv_general_dilated(
        x[None], w, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"), feature_group_count=groups
    )[0]


def network(act, taps=3, bias=False):
    """Convolution, depthwise filter, activation, pointwise convolution, mean."""

    def apply(p, x):
        h = conv(conv(x, p["w"]) / 12**0.5, p["d"], len(p["v"])) / taps**0.5
        h = act((h + 0.5 * p["b"] + 0.2) * 1.3) if bias else act(h)
        return readout(p, relu(h @ p["u"] / len(p["u"]) ** 0.5)).mean(0)

    shapes = {"w": lambda n: (3, 4, n), "d": lambda n: (taps, 1, n), "u": lambda n: (n, n), "v": lambda n: (n, 1)}
    shapes |= {"b": lambda n: (n,)} if bias else {}
    return wl.Network(drawn(lambda n: {name: shape(n) for name, shape in shapes.items()}), apply)


def written_out(monkeypatch, net, accuracy):
    """By the expectation of all factors of the sum of products."""
    with monkeypatch.context() as patched:
        patched.setattr(_recursion, "both_filtered", lambda left, right: None)
        return wl.limit(net, X[0], accuracy=accuracy).pair(*X)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is not reached")
@pytest.mark.parametrize("act", [relu, lambda h: jax.nn.gelu(h, approximate=False)], ids=["relu", "gelu"])
def test_it_is_that_of_the_sum_of_products(monkeypatch, act):
    net = network(act, bias=act is not relu)
    found = wl.limit(net, X[0], accuracy=1e-4).pair(*X)
    for one, other in zip(found, written_out(monkeypatch, net, 1e-3), strict=True):
        np.testing.assert_allclose(one, other, rtol=5e-3)


def test_its_error_is_explained():
    explained = wl.limit(network(relu), X[0], accuracy=1e-3).explain()
    (by_filter,) = [e for e in explained.nonlinearities if "given the filter" in e.rule]
    assert by_filter.gaussians == 6
    assert 0 < by_filter.error < 1e-3


@pytest.mark.slow
def test_finite_networks():
    net = network(relu)
    kernel = wl.limit(net, X[0], accuracy=1e-3)
    report = wl.verify(net, X, key=jax.random.key(0), kernel=kernel, widths=(16, 32, 64), accuracy=0.03, cost=1e8)
    assert report.passed


def test_other_functions_are_written_out():
    """Without closed forms each filter would take an integral of its own."""
    for act in (jnp.tanh, lambda h: relu(h) * jnp.cos(h)):
        explained = wl.limit(network(act), X[0], accuracy=0.1).explain()
        assert not any("given the filter" in e.rule for e in explained.nonlinearities)
