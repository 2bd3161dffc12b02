"""Networks whose parts meet in more than one way, against finite networks and against each other's spellings."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import networks
import widelimit as wl
from marks import but_slow
from montecarlo import assert_agrees
from networks import drawn, readout, relu

X = np.random.default_rng(0).normal(size=(3, 3))


def network(apply, **shapes):
    table = {"w": lambda n: (3, n), "v": lambda n: (n, 1)} | shapes
    return wl.Network(drawn(lambda n: {name: shape(n) for name, shape in table.items()}), apply)


def glu(p, x):
    a, b = jnp.split(x @ p["w"], 2)
    return readout(p, relu(a) * b)


def sliced_gates(p, x):
    z, n = x @ p["w"], p["v"].shape[0]
    return readout(p, relu(z[:n]) * jnp.sin(z[n : 2 * n]) + z[2 * n :])


def joined(p, x):
    a, b = x @ p["w"], x @ p["u"]
    return readout(p, jnp.concatenate([relu(a), b, jnp.sin(a)]))


MEETING = {
    "gates split": (glu, {"w": lambda n: (3, 2 * n)}),
    "gates sliced": (sliced_gates, {"w": lambda n: (3, 3 * n)}),
    "joined along the width": (joined, {"u": lambda n: (3, 2 * n), "v": lambda n: (4 * n, 1)}),
    "residual after the activation": (lambda p, x: readout(p, relu(x @ p["w"]) + x @ p["u"]), {"u": lambda n: (3, n)}),
    "residual of its own argument": (lambda p, x: (lambda h: readout(p, jnp.sin(h) + 0.5 * h))(x @ p["w"]), {}),
    "skip from the input": (lambda p, x: readout(p, relu(x @ p["w"])) + x @ p["s"], {"s": lambda n: (3, 1)}),
    "scaled by a parameter": (lambda p, x: readout(p, relu(x @ p["w"]) * p["g"]), {"g": lambda n: (n,)}),
    "maximum of two layers": (lambda p, x: readout(p, jnp.maximum(x @ p["w"], x @ p["u"])), {"u": lambda n: (3, n)}),
}


@pytest.mark.filterwarnings("ignore:.*is not reached")  # the maximum of two layers is integrated on a lattice
@pytest.mark.parametrize("name", MEETING)
def test_one_hidden_layer(name):
    apply, shapes = MEETING[name]
    assert_agrees(network(apply, **shapes), X, width=6, draws=1000)


# --- spellings --------------------------------------------------------------------------------------------------------------


def values(net, x=X):
    return jax.jit(wl.limit(net, x[0]).pair)(x[0], x[1])


def same(net, expected, x=X):
    for got, value in zip(values(net, x), expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-10, atol=1e-10)


SQUARE = {"w": lambda n: (3, n), "u": lambda n: (n, n), "v": lambda n: (n, 1)}


def product(h, w):
    return h @ w / jnp.sqrt(h.shape[-1])


def normalised(norm):
    """relu, a norm over the width, a dense layer, readout."""
    return network(lambda p, x: readout(p, relu(product(norm(relu(x @ p["w"])), p["u"]))), **SQUARE)


def by_moments(h):
    mean, square = h.mean(), (h * h).mean()
    return (h - mean) * lax.rsqrt(square - mean**2 + 1e-5)


def by_sums(h):
    n = h.shape[0]
    centred = h - h.sum() / n
    return centred / jnp.sqrt(jnp.sum(centred**2) / n + 1e-5)


LAYER_NORMS = {
    "moments": by_moments,
    "sums": by_sums,
    "var": lambda h: (h - jnp.mean(h)) / jnp.sqrt(jnp.var(h) + 1e-5),
    "standardize": lambda h: jax.nn.standardize(h, epsilon=1e-5),
    "flax": lambda h: nnx.LayerNorm(h.shape[0], use_scale=False, use_bias=False, epsilon=1e-5, rngs=nnx.Rngs(0))(h),
    "flax, slow variance": lambda h: nnx.LayerNorm(
        h.shape[0], use_scale=False, use_bias=False, epsilon=1e-5, use_fast_variance=False, rngs=nnx.Rngs(0)
    )(h),
    "equinox": lambda h: eqx.nn.LayerNorm(h.shape[0], eps=1e-5, use_weight=False, use_bias=False)(h),
    "scale and shift at their start": lambda h: eqx.nn.LayerNorm(h.shape[0], eps=1e-5)(h),
}


@functools.cache
def of_layer_norm():
    return values(normalised(lambda h: networks.layer_norm(h, 1e-5)))


@pytest.mark.parametrize("name", LAYER_NORMS)
def test_layer_norms(name):
    same(normalised(LAYER_NORMS[name]), of_layer_norm())


RMS_NORMS = {
    "rsqrt": lambda h: h * lax.rsqrt(jnp.mean(h**2) + 1e-5),
    "flax": lambda h: nnx.RMSNorm(h.shape[0], use_scale=False, epsilon=1e-5, rngs=nnx.Rngs(0))(h),
    "equinox": lambda h: eqx.nn.RMSNorm(h.shape[0], eps=1e-5, use_weight=False, use_bias=False)(h),
    "inner product": lambda h: h / jnp.sqrt(h @ h / h.shape[0] + 1e-5),
}


@functools.cache
def of_rms_norm():
    return values(normalised(lambda h: h / jnp.sqrt(jnp.square(h).mean() + 1e-5)))


@pytest.mark.parametrize("name", RMS_NORMS)
def test_rms_norms(name):
    same(normalised(RMS_NORMS[name]), of_rms_norm())


def test_the_norm_of_a_vector():
    same(
        normalised(lambda h: jnp.sqrt(h.shape[0]) * h / jnp.linalg.norm(h)),
        values(normalised(lambda h: h / jnp.sqrt(jnp.square(h).mean()))),
    )


def test_rms_norm_by_hand():
    """Of a Gaussian: relu of unit variance and the correlation of the inputs."""
    plain = network(lambda p, x: readout(p, relu(x @ p["w"])))
    normed = network(lambda p, x: readout(p, relu((lambda h: h / jnp.sqrt((h * h).mean()))(x @ p["w"]))))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    got, expected = values(normed), values(plain, unit)
    np.testing.assert_allclose(got.nngp, expected.nngp, rtol=1e-12)
    np.testing.assert_allclose(got.ntk, expected.ntk, rtol=1e-12)


@jax.custom_jvp
def leaky_jvp(h):
    return jnp.where(h > 0, h, 0.1 * h)


leaky_jvp.defjvp(lambda h, t: (leaky_jvp(h[0]), jnp.where(h[0] > 0, 1.0, 0.1) * t[0]))


@jax.custom_vjp
def leaky_vjp(h):
    return jnp.where(h > 0, h, 0.1 * h)


leaky_vjp.defvjp(lambda h: (leaky_vjp(h), h), lambda h, g: (jnp.where(h > 0, 1.0, 0.1) * g,))

LEAKY = {
    "custom_jvp": leaky_jvp,
    "custom_vjp": leaky_vjp,
    "remat": jax.checkpoint(lambda h: jnp.maximum(h, 0.1 * h)),
    "jit": jax.jit(lambda h: jnp.maximum(h, 0.1 * h)),
    "vmap": jax.vmap(lambda h: jnp.maximum(h, 0.1 * h)),
    "parts": lambda h: relu(h) - 0.1 * relu(-h),
    "absolute value": lambda h: 0.55 * h + 0.45 * jnp.abs(h),
    "jax.nn": lambda h: jax.nn.leaky_relu(h, 0.1),
    "sign": lambda h: h * (0.55 + 0.45 * jnp.sign(h)),
}


def activated(activation):
    return network(lambda p, x: readout(p, activation(product(activation(x @ p["w"]), p["u"]))), **SQUARE)


@functools.cache
def of_leaky():
    return values(activated(lambda h: jnp.where(h >= 0, h, 0.1 * h)))


@pytest.mark.parametrize("name", LEAKY)
def test_activations(name):
    same(activated(LEAKY[name]), of_leaky())


SEQUENCES = np.random.default_rng(1).normal(size=(2, 3, 3))


def recurrent(run):
    def apply(p, x):
        def cell(h, xi):
            return jax.scipy.special.erf(product(h, p["u"]) + xi @ p["w"] + p["b"])

        return readout(p, run(cell, jnp.zeros_like(p["b"]), x))

    return network(apply, **SQUARE, b=lambda n: (n,))


def unrolled(cell, h, x):
    for xi in x:
        h = cell(h, xi)
    return h


LOOPS = {
    "scan": lambda cell, h, x: lax.scan(lambda h, xi: (cell(h, xi), None), h, x)[0],
    "scan, last of all": lambda cell, h, x: lax.scan(lambda h, xi: (cell(h, xi),) * 2, h, x)[1][-1],
    "scan, unrolled": lambda cell, h, x: lax.scan(lambda h, xi: (cell(h, xi), None), h, x, unroll=3)[0],
    "scan backwards": lambda cell, h, x: lax.scan(lambda h, xi: (cell(h, xi), None), h, x[::-1], reverse=True)[0],
    "fori_loop": lambda cell, h, x: lax.fori_loop(0, 3, lambda i, h: cell(h, x[i]), h),
    "remat in a scan": lambda cell, h, x: lax.scan(lambda h, xi: (jax.checkpoint(cell)(h, xi), None), h, x)[0],
}


@functools.cache
def of_steps():
    return values(recurrent(unrolled), SEQUENCES)


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name):
    same(recurrent(LOOPS[name]), of_steps(), SEQUENCES)


def test_state_and_input_joined():
    """[√n x, h] W is x W_x + h W_h."""

    def apply(p, x):
        h = jnp.zeros(p["v"].shape[0])
        for xi in x:
            both = jnp.concatenate([jnp.sqrt(h.shape[0]) * xi, h])
            h = jax.scipy.special.erf(both @ p["u"] / jnp.sqrt(h.shape[0]) + p["b"])
        return readout(p, h)

    joint = network(apply, u=lambda n: (n + 3, n), b=lambda n: (n,))
    same(joint, of_steps(), SEQUENCES)


def attention(weights, tokens):
    def apply(p, x):
        q, k, h = x @ p["q"], x @ p["k"], x @ p["w"]
        return readout(p, weights(q, k, tokens) @ h).mean(0)

    return network(apply, q=lambda n: (3, n), k=lambda n: (3, n))


MASKED = {
    "where": lambda q, k, n: jax.nn.softmax(
        jnp.where(jnp.tril(jnp.ones((n, n), bool)), q @ k.T / q.shape[1], -jnp.inf)
    ),
    "softmax(where=)": lambda q, k, n: jax.nn.softmax(q @ k.T / q.shape[1], where=jnp.tril(jnp.ones((n, n), bool))),
    "added": lambda q, k, n: jax.nn.softmax(
        jnp.einsum("id,jd->ij", q, k) / q.shape[1] + jnp.where(jnp.tril(jnp.ones((n, n), bool)), 0.0, -1e30)
    ),
    "by hand": lambda q, k, n: (lambda e: e / e.sum(1, keepdims=True))(jnp.tril(jnp.exp(q @ k.T / q.shape[1]))),
}


@pytest.mark.parametrize("name", MASKED)
def test_causal_attention(name):
    """Independent queries and keys: logits are 0 in the limit, so row i averages over the first i + 1 tokens."""
    average = np.tril(np.ones((3, 3))) / np.arange(1, 4)[:, None]
    mean = network(lambda p, x: readout(p, (average @ x @ p["w"])).mean(0))
    got, expected = (values(net, SEQUENCES) for net in (attention(MASKED[name], 3), mean))
    np.testing.assert_allclose(got.nngp, expected.nngp, rtol=1e-12)


# --- demand -------------------------------------------------------------------------------------------------------------------


def arrays(jaxpr):
    """The shapes of all arrays in a program, inner ones included."""
    for eqn in jaxpr.eqns:
        yield from (v.aval.shape for v in eqn.outvars)
        for inner in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from arrays(inner)


def largest(net, x):
    kernel = wl.limit(net, x)
    return max(int(np.prod(shape)) for shape in arrays(jax.make_jaxpr(kernel.pair)(x, x).jaxpr))


@pytest.mark.parametrize("spelling", but_slow(["plain", "flax", "equinox"], "plain"))
def test_flatten_asks_for_equal_positions_only(spelling):
    """No array has two copies of the positions: none is larger than the image."""
    x = np.zeros((8, 8, 3))
    assert largest(networks.GOLDEN["cnn_flatten"][spelling](), x) <= 8 * 8 * 9


def test_global_pooling_asks_for_all_positions():
    assert largest(networks.cnn_pooled(), np.zeros((8, 8, 3))) >= 64 * 64


def test_a_last_state_asks_for_equal_times_only():
    long = recurrent(LOOPS["scan"])
    assert largest(long, np.zeros((6, 3))) < 36
