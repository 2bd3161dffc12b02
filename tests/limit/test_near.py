"""Nearly equal inputs keep their digits: squared differences are carried beside the second moments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import networks
import widelimit as wl
from networks import drawn, relu
from widelimit.limit._labels import into, right_into
from widelimit.limit._near import ROUNDS, squared_distances
from widelimit.limit._recursion import Recursion
from widelimit.limit._request import Request, complete, same_positions

INPUTS = 784
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, INPUTS)).astype(np.float32)
NEAR = (X + 1e-3 * RNG.normal(size=X.shape)).astype(np.float32)


def he_network(layers, inputs=INPUTS):
    """ReLU with weights of variance 2 and a readout of variance 1: NNGP(x, x) = |x|²/d, NTK(x, x) = (layers + 1)|x|²/d."""

    def shapes(n):
        return {f"w{i}": (n if i else inputs, n) for i in range(layers)} | {"v": (n, 1)}

    def apply(params, x):
        for i in range(layers):
            x = relu(jnp.sqrt(2 / x.shape[-1]) * (x @ params[f"w{i}"]))
        return networks.readout(params, x)

    return wl.Network(drawn(shapes), apply)


@functools.cache
def kernel(layers=3):
    return wl.limit(he_network(layers), X[0])


def relu_kernels(x, y, layers):
    """Arc-cosine recursion (Cho & Saul 2009) in float64 from |x − y|², elementwise over pairs."""
    x, y = (np.asarray(a, np.float64) for a in (x, y))
    k1, k2, gap = (2 * (a**2).sum(-1) / x.shape[-1] for a in (x, y, x - y))
    c = ntk = (k1 + k2 - gap) / 2
    for _ in range(layers):
        radial = (k1 - k2) ** 2 / (np.sqrt(k1) + np.sqrt(k2)) ** 2
        half_sine = np.sqrt((gap - radial) / (4 * np.sqrt(k1 * k2)))
        theta = 2 * np.arcsin(half_sine)
        lens = (np.sqrt(k1 * k2) * np.sin(theta) - c * theta) / np.pi
        ntk = ntk * (1 - theta / np.pi) + c + lens
        c, gap = c + lens, gap - 2 * lens
    return c / 2, ntk / 2


def worst(got, expected):
    return np.max(np.abs(np.asarray(got, np.float64) - expected)) / np.max(np.abs(expected))


# --- accuracy ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["gram", "pair"])
def test_inputs_at_a_distance_of_a_thousandth_in_single_precision(way):
    expected = relu_kernels(X, NEAR, 3)
    got = [np.diag(k) for k in kernel()(X, NEAR)] if way == "gram" else jax.vmap(kernel().pair)(X, NEAR)
    for found, exact in zip(got, expected, strict=True):
        assert found.dtype == np.float32
        assert worst(found, exact) < 2e-6


@pytest.mark.slow
def test_twenty_layers():
    nngp, ntk = kernel(20)(X, NEAR)
    expected = relu_kernels(X, NEAR, 20)
    assert worst(np.diag(nngp), expected[0]) < 1e-5
    assert worst(np.diag(ntk), expected[1]) < 1e-5


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 5e-15)])
def test_an_input_with_itself_in_a_gram_matrix(dtype, tolerance):
    """Also where it stands twice, and in the other list."""
    x = X.astype(dtype)
    twice = np.concatenate([x, x[:2]])
    square = (x.astype(np.float64) ** 2).mean(-1)
    for nngp, ntk in (kernel()(twice), kernel()(twice, twice)):
        for i, j in [*((i, i) for i in range(8)), (0, 6), (7, 1)]:
            assert abs(nngp[i, j] / square[i % 6] - 1) < tolerance
            assert abs(ntk[i, j] / (4 * square[i % 6]) - 1) < tolerance
    np.testing.assert_allclose(kernel().diagonal(x).ntk, 4 * square, rtol=tolerance)


def test_convolutions_in_single_precision():
    """All pairs of positions, under a pooling."""

    def apply(params, x):
        return networks.readout(params, relu(networks.conv_layer(params, 0, x)).mean((0, 1)))

    k = wl.limit(wl.Network(drawn(networks.conv_shapes(3, positions=1, layers=1)), apply), np.zeros((3, 3, 3)))
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3, 3, 3))
    both = np.concatenate([x, x + 1e-3 * rng.normal(size=x.shape)]).astype(np.float32)
    assert worst(k(both).ntk, k(both.astype(np.float64)).ntk) < 1e-6


def he_convolutions(layers):
    def shapes(n):
        return {f"w{i}": (3, 3, n if i else 2, n) for i in range(layers)} | {"v": (16 * n,)}

    def apply(params, x):
        for i in range(layers):
            w = params[f"w{i}"]
            x = relu(jnp.sqrt(2 / w[..., 0].size) * networks.conv(x, w))
        return networks.readout(params, x.reshape(-1))

    return wl.Network(drawn(shapes), apply)


@pytest.mark.parametrize(("net", "shape"), [(he_network(3, 40), (40,)), (he_convolutions(3), (4, 4, 2))])
def test_inputs_of_very_different_norms_in_single_precision(net, shape):
    """The squared difference of two of them says little about the smaller one."""
    k = wl.limit(net, np.zeros(shape))
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, *shape)) * np.geomspace(1, 1e4, 4).reshape(-1, *[1] * len(shape))
    x = x.astype(np.float32)
    for found, exact in zip(k(x), k(x.astype(np.float64)), strict=True):
        np.testing.assert_allclose(found, exact, rtol=2e-6)


# --- what is carried is what the second moments say -----------------------------------------------------------------------------


def leaky():
    def apply(params, x):
        h = jax.nn.leaky_relu(networks.dense(params, 0, x), 0.2)
        h = jnp.abs(networks.dense(params, 1, h))
        return networks.readout(params, jnp.sign(networks.dense(params, 2, h)))

    return wl.Network(drawn(networks.dense_shapes(10)), apply)


def recurrent():
    def shapes(n):
        return {"w": (n, n), "u": (2, n), "b": (n,), "v": (n, 1)}

    def apply(params, x):
        def step(h, entry):
            h = relu(h @ params["w"] / jnp.sqrt(h.shape[-1]) + entry @ params["u"] + 0.1 * params["b"])
            return h, h

        _, h = jax.lax.scan(step, jnp.zeros(params["b"].shape), x)
        return networks.readout(params, relu(h.mean(0) @ params["w"] / jnp.sqrt(h.shape[-1])))

    return wl.Network(drawn(shapes), apply)


CARRIED = {
    "residual": (networks.residual_mlp, (10,)),
    "flatten": (networks.cnn_flatten, (8, 8, 3)),
    "pooled": (networks.cnn_pooled, (4, 4, 3)),
    "leaky": (leaky, (10,)),
    "recurrent": (recurrent, (3, 2)),
}


@functools.cache
def carried(name):
    """(inputs, covariance of the copies' weights over their variance) -> gaps, and what the second moments say of each."""
    make, shape = CARRIED[name]
    k = wl.limit(make(), np.zeros(shape))
    out, dtype = k.reading.output, jnp.dtype("float64")

    @jax.jit
    def pairs(x, xp, copies):
        variances = {p: jnp.asarray(v) for p, v in k._variances.items()}
        cross = {p: copies * v for p, v in variances.items()}
        base = Recursion(([x], [xp]), variances, variances, dtype, 1e-6)
        recursion = Recursion(([x], [xp]), variances, cross, dtype, 1e-6, base)
        recursion.second(complete(out, out, (0, 1)))
        found = [key for key, gap in recursion._gaps.items() if isinstance(gap, jax.Array)]
        return [(recursion._gaps[key], *moments(recursion, key)) for key in found]

    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(2, *shape))
    return lambda copies: pairs(*inputs, copies)


def moments(recursion, key):
    """E[u²] + E[v²] and E[uv]."""
    r = Request(*key)
    sides = zip((r.u, r.v), r.sides, strict=True)
    left, right = (recursion.second(Request(x, x, (s, s), same_positions(x), r.centred)) for x, s in sides)
    return into(left, r) + right_into(right, r), recursion.second(r)


@pytest.mark.parametrize("copies", [1.0, 0.7])
@pytest.mark.parametrize("name", CARRIED)
def test_a_gap_is_that_of_the_second_moments(name, copies):
    """E[(u − v)²] = E[u²] + E[v²] − 2 E[uv], also for two copies of the network whose weights are correlated."""
    found = carried(name)(copies)
    assert len(found) >= 2
    for gap, both, product in found:
        np.testing.assert_allclose(gap, both - 2 * product, rtol=1e-9, atol=1e-12 * np.max(both))


# --- distances of the inputs ------------------------------------------------------------------------------------------------


def distances(x, y):
    def one(a, b):
        return squared_distances(a, b, lambda: (a @ a, a @ b, b @ b))

    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(x, y)


@pytest.mark.parametrize("copies", [0, 1, ROUNDS, ROUNDS + 1])
def test_near_pairs_have_the_digits_of_their_differences(copies):
    """None, one, many and too many to look up in a row."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(20, INPUTS)).astype(np.float32)
    y[:copies] = X[2] + 1e-3 * y[:copies]
    exact = ((X[:, None].astype(np.float64) - y) ** 2).sum(-1)
    np.testing.assert_allclose(distances(X, y), exact, rtol=2e-5)
    np.testing.assert_allclose(distances(X, y)[2, :copies], exact[2, :copies], rtol=1e-6)


def test_equal_inputs_are_at_no_distance():
    assert np.all(np.diag(distances(X, X)) == 0)


# --- derivatives ------------------------------------------------------------------------------------------------------------


@functools.cache
def small():
    return wl.limit(he_network(2, inputs=3), np.zeros(3))


def along(kind, start, direction, x):
    pair = small().pair
    return lambda t: getattr(pair(start + t * direction, x), kind)


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_derivatives_of_near_inputs(kind):
    rng = np.random.default_rng(1)
    x, direction, offset = rng.normal(size=(3, 3))
    fn = jax.jit(along(kind, x + 1e-2 * offset, direction, x))
    first, second = jax.jit(jax.grad(fn)), jax.jit(jax.grad(jax.grad(fn)))
    # The steps are small beside the distance, to whose fourth power the error of the quotient is relative.
    for f, df in ((fn, first), (first, second)):
        quotient = (8 * (f(3e-5) - f(-3e-5)) - (f(6e-5) - f(-6e-5))) / 36e-5
        np.testing.assert_allclose(df(0.0), quotient, rtol=1e-6)


def test_derivatives_where_inputs_meet():
    """At x' = x, −x and 0 they are finite; that of the NNGP at x' = x is half the derivative of K(x, x)."""
    rng = np.random.default_rng(1)
    x, direction = rng.normal(size=(2, 3))
    small()
    both = jax.jit(
        lambda start: [
            (jax.grad(f)(0.0), jax.grad(jax.grad(f))(0.0))
            for f in (along(kind, start, direction, x) for kind in ("nngp", "ntk"))
        ]
    )
    for start in (x, -x, np.zeros(3)):
        assert np.all(np.isfinite(both(start)))
    np.testing.assert_allclose(both(x)[0][0], x @ direction / 3, rtol=1e-12)
