"""Grouped and depthwise convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import widelimit as wl
from montecarlo import assert_agrees
from networks import drawn, readout, relu

X = np.random.default_rng(0).normal(size=(2, 4, 4))
GROUPS = 2


def conv(x, w, groups=1, **options):
    dims = ("NHC", "HIO", "NHC")
    return lax.conv_general_dilated(
        x[None], w, (1,), "SAME", dimension_numbers=dims, feature_group_count=groups, **options
    )[0]


def network(apply, **shapes):
    table = {"w": lambda n: (3, 4, n), "v": lambda n: (n, 1)} | shapes
    return wl.Network(drawn(lambda n: {name: shape(n) for name, shape in table.items()}), apply)


def pair(net, x=X):
    return jax.jit(wl.limit(net, x[0]).pair)(x[0], x[1])


def assert_same(one, other):
    for got, expected in zip(pair(one), pair(other), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


# --- groups -------------------------------------------------------------------------------------------------------------


def hidden(mix, **shapes):
    """A convolution, `mix`, and a readout."""
    return network(lambda p, x: readout(p, relu(mix(p, relu(conv(x, p["w"]))))).mean(0), **shapes)


def grouped(p, h):
    return conv(h, p["g"], GROUPS) / jnp.sqrt(p["g"].shape[1])


def in_blocks(p, h):
    n = h.shape[-1] // GROUPS
    parts = [conv(h[:, i * n : (i + 1) * n], p["g"][..., i * n : (i + 1) * n]) for i in range(GROUPS)]
    return jnp.concatenate(parts, -1) / jnp.sqrt(n)


def block(n):
    return (3, n // GROUPS, n)


def test_groups_are_convolutions_of_blocks():
    assert_same(hidden(grouped, g=block), hidden(in_blocks, g=block))


def test_groups_of_the_input():
    """Each group of the first layer reads its own features of the input."""

    def apart(p, x):
        parts = [conv(x[:, 2 * i : 2 * i + 2], p["w"][i]) for i in range(GROUPS)]
        return readout(p, relu(jnp.concatenate(parts, -1))).mean(0)

    def together(p, x):
        return readout(p, relu(conv(x, p["w"], GROUPS))).mean(0)

    one = network(apart, w=lambda n: (2, 3, 2, n), v=lambda n: (2 * n, 1))
    assert_same(one, network(together, w=lambda n: (3, 2, 2 * n), v=lambda n: (2 * n, 1)))


# --- depthwise ------------------------------------------------------------------------------------------------------------


def depthwise(p, h, **options):
    return conv(h, p["d"], h.shape[-1], **options)


def tap_by_tap(p, h):
    padded = jnp.pad(h, ((1, 1), (0, 0)))
    return sum(p["d"][k, 0] * padded[k : k + len(h)] for k in range(3))


def after(mix, **shapes):
    return network(lambda p, x: readout(p, mix(p, relu(conv(x, p["w"])))).mean(0), d=lambda n: (3, 1, n), **shapes)


def test_depthwise_is_a_sum_of_products():
    assert_same(after(depthwise), after(tap_by_tap))


@pytest.mark.slow
def test_depthwise_against_finite_networks():
    assert_agrees(after(depthwise), X, width=6, draws=1000)


@pytest.mark.slow
def test_several_results_a_feature():
    net = network(
        lambda p, x: readout(p, depthwise(p, relu(conv(x, p["w"])))).mean(0),
        d=lambda n: (3, 1, 2 * n),
        v=lambda n: (2 * n, 1),
    )
    assert_agrees(net, X, width=6, draws=1000)


@pytest.mark.slow
def test_groups_of_fixed_size():
    """Two features a group: the filter sums over both."""
    net = network(
        lambda p, x: readout(p, conv(relu(conv(x, p["w"])), p["d"], p["v"].shape[0] // 2)).mean(0),
        d=lambda n: (3, 2, n),
    )
    assert_agrees(net, X, width=6, draws=1000)


def normalised(h):
    return (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-6)


def block_of(mix):
    """Depthwise convolution, normalisation with scale and shift, a layer: as ConvNeXt has it."""
    return after(
        lambda p, h: relu((normalised(mix(p, h)) * p["s"] + p["b"]) @ p["u"] / jnp.sqrt(len(p["u"]))),
        s=lambda n: (n,),
        b=lambda n: (n,),
        u=lambda n: (n, n),
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is not reached")  # of the products written out
def test_depthwise_then_normalisation_is_exact():
    assert_same(block_of(depthwise), block_of(tap_by_tap))


def test_a_filter_of_many_taps_is_read_in_a_whole():
    """Forty-nine taps a side are more Gaussians than one function may couple; a normalisation needs none of them."""
    net = block_of(lambda p, h: conv(jnp.tile(h, (2, 1)), p["d"], h.shape[-1]))
    wide = wl.Network(
        lambda key, n: {**net.init(key, n), "d": jax.random.normal(key, (49, 1, n))},
        net.apply,
        laws={"d": wl.normal(1.0)},
    )
    assert np.isfinite(pair(wide).ntk).all()


def test_normalised_filters_need_no_integral():
    explained = wl.limit(block_of(depthwise), X[0]).explain()
    assert {e.error for e in explained.nonlinearities} == {0.0}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is not reached")
def test_one_filter_used_twice():
    """The filter stands in its own argument: the sum of products says what their moments are."""
    twice = [after(lambda p, h, m=m: m(p, m(p, h))) for m in (depthwise, tap_by_tap)]
    assert_same(*twice)


def test_batch_groups_are_refused():
    def apply(p, x):
        h = relu(conv(x, p["w"]))
        dims = ("NHC", "HIO", "NHC")
        out = lax.conv_general_dilated(
            jnp.stack([h, h]), p["u"], (1,), "SAME", dimension_numbers=dims, batch_group_count=2
        )
        return readout(p, out[0]).mean(0)

    with pytest.raises(wl.Refusal, match="batch_group_count"):
        wl.limit(network(apply, u=lambda n: (3, n, n)), X[0])


# --- joined and reversed ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_convolution_of_what_is_joined():
    """conv([a, b], w) = conv(a, w₁) + conv(b, w₂), as DenseNet and U-Net have it."""

    def joined(p, h):
        return conv(jnp.concatenate([h, jnp.tanh(h)], -1), p["j"]) / jnp.sqrt(h.shape[-1])

    def added(p, h):
        n = h.shape[-1]
        return (conv(h, p["j"][:, :n]) + conv(jnp.tanh(h), p["j"][:, n:])) / jnp.sqrt(n)

    def shape(n):
        return (3, 2 * n, n)

    assert_same(hidden(joined, j=shape), hidden(added, j=shape))


def test_a_reversed_filter_has_the_same_law():
    one, other = (
        network(lambda p, x, f=f: readout(p, relu(conv(x, f(p["w"])))).mean(0)) for f in (jnp.flip, lambda w: w)
    )
    assert_same(one, other)


def test_a_filter_and_its_reverse_are_refused():
    def both(p, x):
        return readout(p, relu(conv(x, p["w"]) + conv(x, p["w"][::-1]))).mean(0)

    with pytest.raises(wl.Refusal, match="overlap in part"):
        wl.limit(network(both), X[0])
