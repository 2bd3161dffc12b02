"""Nonlinearities that couple positions: maxima, softmax, batch normalisation, pooling between activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import widelimit as wl
from networks import drawn, readout, relu

pytestmark = pytest.mark.filterwarnings("ignore:.*is not reached")
TOKENS = np.random.default_rng(0).normal(size=(2, 4, 3))
PIXELS = np.random.default_rng(1).normal(size=(2, 4, 4, 3))


def network(apply, **shapes):
    table = {"w": lambda n: (3, n), "v": lambda n: (n, 1)} | shapes
    return wl.Network(drawn(lambda n: {name: shape(n) for name, shape in table.items()}), apply)


def of_hidden(fn):
    """readout(fn(x W)), one hidden layer over positions."""
    return network(lambda p, x: readout(p, fn(x @ p["w"])))


def pair(net, x=TOKENS, accuracy=1e-6):
    return jax.jit(wl.limit(net, x[0], accuracy=accuracy).pair)(x[0], x[1])


def same(one, other, x=TOKENS, tolerance=1e-10, accuracy=1e-6):
    for got, expected in zip(pair(one, x, accuracy), pair(other, x, accuracy), strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def window(h, size, stride, padding="VALID"):
    return lax.reduce_window(h, -jnp.inf, lax.max, (size, 1), (stride, 1), padding)


def test_a_gram_matrix_is_its_own_mirror_image():
    kernel = wl.limit(of_hidden(lambda h: window(h, 2, 1)), TOKENS[0], accuracy=1e-3)
    nngp = np.asarray(kernel.nngp(TOKENS))
    np.testing.assert_array_equal(nngp, nngp.transpose(1, 0, 3, 2))


# --- maxima -----------------------------------------------------------------------------------------------------------------

SPELLINGS = {
    "max": (lambda h: h[:2].max(0), lambda h: jnp.maximum(h[0], h[1])),
    "min": (lambda h: h[:2].min(0), lambda h: -jnp.maximum(-h[0], -h[1])),
    "product": (lambda h: h[:2].prod(0), lambda h: h[0] * h[1]),
    "pooling": (lambda h: window(h, 2, 2).sum(0), lambda h: jnp.maximum(h[::2], h[1::2]).sum(0)),
    "average": (lambda h: relu(h[:2].mean(0)), lambda h: relu(0.5 * (h[0] + h[1]))),
    "average of values": (
        lambda h: jnp.tanh(jnp.sin(h[:2]).mean(0)),
        lambda h: jnp.tanh((jnp.sin(h[0]) + jnp.sin(h[1])) / 2),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_two_spellings(name):
    one, other = (of_hidden(fn) for fn in SPELLINGS[name])
    same(one, other, tolerance=1e-6, accuracy=1e-3)


@pytest.mark.slow
def test_a_cumulative_maximum():
    same(of_hidden(lambda h: lax.cummax(h[:2])[1]), of_hidden(lambda h: h[:2].max(0)), tolerance=1e-3, accuracy=1e-3)


def test_a_maximum_of_two_positions_is_exact():
    (only,) = wl.limit(of_hidden(lambda h: h[:2].max(0)), TOKENS[0]).explain().nonlinearities
    assert (only.gaussians, only.error) == (2, 0.0)


@pytest.mark.slow
def test_padding_takes_no_part_in_a_maximum():
    """With padding the first window holds the first position twice less: it reads only what is there."""
    padded = of_hidden(lambda h: lax.reduce_window(h[:2], -jnp.inf, lax.max, (2, 1), (2, 1), ((1, 1), (0, 0))).sum(0))
    same(padded, of_hidden(lambda h: h[0] + h[1]), tolerance=1e-3, accuracy=1e-3)


def test_equal_positions():
    """The maximum of equal tokens is the token: a law of rank one a side."""
    x = np.repeat(TOKENS[:, :1], 4, 1)
    same(of_hidden(lambda h: h.max(0)), of_hidden(lambda h: h[0]), x, tolerance=2e-3, accuracy=1e-3)


def test_what_is_not_reached_is_warned_of():
    with pytest.warns(wl.ApproximationWarning, match=r"reduce_max.*4 Gaussians: lattice"):
        wl.limit(of_hidden(lambda h: h.max(0)), TOKENS[0])


# --- softmax ----------------------------------------------------------------------------------------------------------------


def attended(h, value, softmax):
    return (softmax(h) * value).sum(0)


def by_hand(h):
    return jnp.exp(h) / jnp.exp(h).sum(0)


@pytest.fixture(scope="module")
def soft():
    def kernel(softmax):
        net = network(lambda p, x: readout(p, attended(x @ p["w"], x @ p["u"], softmax)), u=lambda n: (3, n))
        return wl.limit(net, TOKENS[0, :3], accuracy=1e-3)

    return kernel(lambda h: jax.nn.softmax(h, 0)), kernel(by_hand)


@pytest.mark.slow
def test_the_maximum_that_softmax_takes_off_cancels(soft):
    values = [jax.jit(k.pair)(TOKENS[0, :3], TOKENS[1, :3]) for k in soft]
    for got, expected in zip(*values, strict=True):
        np.testing.assert_allclose(got, expected, rtol=4e-3)


def test_the_gaussians_of_softmax_are_counted_once(soft):
    """Scores at the position and at all three: four arguments."""
    assert {e.gaussians for e in soft[0].explain().nonlinearities if "exp" in e.operations} == {4}


def test_a_stopped_gradient_that_matters_is_refused():
    net = of_hidden(lambda h: jnp.exp(h - lax.stop_gradient(h.max(0))).sum(0))
    with pytest.raises(wl.Refusal, match=r"stop_gradient.*changes the derivative"):
        wl.limit(net, TOKENS[0])


@pytest.mark.slow
def test_log_sum_exp():
    one = of_hidden(lambda h: jax.nn.logsumexp(h[:2], axis=0))
    same(one, of_hidden(lambda h: jnp.logaddexp(h[0], h[1])), tolerance=1e-4, accuracy=1e-4)


# --- normalisation ----------------------------------------------------------------------------------------------------------


def normalised(h, eps=1e-1):
    centred = h - h.mean(0)
    return centred / jnp.sqrt((centred**2).mean(0) + eps)


@pytest.mark.slow
def test_a_batch_of_two_is_normalised_to_a_function_of_the_difference():
    """With two examples the normalised first is d/√(d² + ε), d half the difference: one Gaussian."""
    one = of_hidden(lambda h: normalised(h[:2])[0])
    other = of_hidden(lambda h: (lambda d: d / jnp.sqrt(d * d + 0.1))((h[0] - h[1]) / 2))
    same(one, other, tolerance=1e-3, accuracy=1e-3)


def test_normalisation_forgets_the_mean():
    """A shift of the whole batch drops out."""
    k = wl.limit(of_hidden(lambda h: relu(normalised(h))[0]), TOKENS[0], accuracy=1e-2)
    fn = jax.jit(k.pair)
    for got, expected in zip(fn(TOKENS[0] + 1.0, TOKENS[1] - 2.0), fn(TOKENS[0], TOKENS[1]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8)


# --- bounds -----------------------------------------------------------------------------------------------------------------


def test_too_many_positions():
    with pytest.raises(wl.Refusal, match="couples 65 random positions"):
        wl.limit(of_hidden(lambda h: h.max(0)), (65, 3))


def test_too_many_values_between_nonlinearities():
    with pytest.raises(wl.Refusal, match="over 65 positions enter another nonlinearity"):
        wl.limit(of_hidden(lambda h: jnp.tanh(relu(h).mean(0))), (65, 3))


# --- finite networks --------------------------------------------------------------------------------------------------------


def pointnet(p, x):
    h = relu(x @ p["w"]) @ p["u"] / jnp.sqrt(p["u"].shape[0])
    return readout(p, relu(h.max(0)))


def max_pooled(p, x):
    h = lax.conv_general_dilated(x[None], p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))[0]
    h = lax.reduce_window(h, -jnp.inf, lax.max, (2, 2, 1), (2, 2, 1), "VALID")
    return readout(p, relu(h).reshape(-1))


def channelwise_attention(p, x):
    h = x @ p["w"]
    scores, values = (h @ p[k] / jnp.sqrt(h.shape[-1]) for k in ("a", "b"))
    return readout(p, relu((jax.nn.softmax(scores, 0) * values).sum(0)))


def batch_normalised(p, x):
    return readout(p, relu(normalised(x @ p["w"])))


def pooled_between(p, x):
    return readout(p, jnp.tanh(relu(x @ p["w"]).reshape(2, 2, -1).mean(1)).sum(0))


SQUARE = {k: lambda n: (n, n) for k in "uab"}
ARCHITECTURES = {
    "point net": (pointnet, {"u": SQUARE["u"]}, TOKENS),
    "max pooling": (max_pooled, {"w": lambda n: (3, 3, 3, n), "v": lambda n: (4 * n, 1)}, PIXELS),
    "channelwise attention": (channelwise_attention, {"a": SQUARE["a"], "b": SQUARE["b"]}, TOKENS),
    "batch normalisation": (batch_normalised, {}, TOKENS),
    "pooling between activations": (pooled_between, {}, TOKENS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_finite_networks(name):
    apply, shapes, x = ARCHITECTURES[name]
    report = wl.verify(network(apply, **shapes), x, key=jax.random.key(0), widths=(64, 128, 256), accuracy=0.01)
    assert report.passed, report


@pytest.mark.slow
@pytest.mark.parametrize("name", ["max pooling", "batch normalisation", "pooling between activations"])
def test_gradients_in_the_inputs(name):
    """The NNGP's, against differences: for kinks these need no derivative of a derivative."""
    apply, shapes, x = ARCHITECTURES[name]
    kernel = wl.limit(network(apply, **shapes), x[0], accuracy=1e-3)

    @jax.jit
    def nngp(a):
        return kernel.pair(a, x[1]).nngp.sum()

    step = 1e-3 * np.random.default_rng(2).normal(size=x[0].shape)
    gradient, difference = jax.grad(nngp)(x[0]), (nngp(x[0] + step) - nngp(x[0] - step)) / 2
    np.testing.assert_allclose(np.sum(gradient * step), difference, rtol=3e-2)
