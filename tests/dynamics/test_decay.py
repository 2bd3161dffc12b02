"""Decay toward the start and toward zero: a small linearised network, trained by its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import widelimit as wl
from dynamics.features import FIRST, SECOND, X_TEST, X, Y, features, kernel, steps
from networks import drawn

RIDGE, DECAY = 0.2, 0.3


@pytest.fixture(scope="module")
def network():
    """θ₀ and the rows f₀, J of a ReLU network of two layers without biases: homogeneous of degree 2."""
    keys = jax.random.split(jax.random.key(0))
    start, unravel = ravel_pytree([jax.random.normal(k, s, float) for k, s in zip(keys, [(3, 8), (8,)], strict=True)])

    def apply(flat, x):
        w, v = unravel(flat)
        return jax.nn.relu(x @ w) @ v / 4

    return np.asarray(start), lambda x: np.asarray(apply(start, x)), lambda x: np.asarray(jax.jacobian(apply)(start, x))


def fitted(network, optimizer, **options):
    _, f0, jacobian = network
    return wl.train(
        lambda x1, x2: (jacobian(x1) @ jacobian(x2).T,) * 2, X, Y[:, 0], optimizer=optimizer, initial=f0, **options
    )


def pull(network, ridge, decay):
    """The gradient of the penalised loss of the linearised network, by its parameters."""
    start, f0, jacobian = network
    f, j = f0(X), jacobian(X)
    return lambda p: j.T @ (f + j @ (p - start) - Y[:, 0]) + ridge * (p - start) + decay * p


def outputs(network, p):
    start, f0, jacobian = network
    return f0(X_TEST) + jacobian(X_TEST) @ (p - start)


PULLS = {"ridge": (RIDGE, 0.0), "decay": (0.0, DECAY), "both": (RIDGE, DECAY)}


@pytest.mark.parametrize(("ridge", "decay"), PULLS.values(), ids=PULLS)
@pytest.mark.parametrize("t", [0.7, 6.0, 200.0])
def test_flow_is_that_of_the_parameters(network, ridge, decay, t):
    gradient = pull(network, ridge, decay)
    end = solve_ivp(lambda _, p: -gradient(p), (0, t), network[0], rtol=1e-9, atol=1e-11, method="LSODA").y[:, -1]
    fit = fitted(network, wl.GradientFlow(), ridge=ridge, weight_decay=decay, degree=2)
    np.testing.assert_allclose(fit(X_TEST, t).mean, outputs(network, end), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("ridge", "decay"), PULLS.values(), ids=PULLS)
@pytest.mark.parametrize(
    "optimizer", [wl.GradientDescent(0.2), wl.Momentum(0.05, 0.8), wl.Momentum(0.05, 0.8, True)], ids=repr
)
def test_steps_are_those_of_the_parameters(network, ridge, decay, optimizer):
    gradient = pull(network, ridge, decay)
    expected = [outputs(network, steps(optimizer, lambda p, _: gradient(p), n, network[0])) for n in (1, 2, 30)]
    fit = fitted(network, optimizer, ridge=ridge, weight_decay=decay, degree=2)
    np.testing.assert_allclose(fit(X_TEST, [1, 2, 30]).mean, expected, rtol=1e-9, atol=1e-12)


def test_minibatches_are_those_of_the_parameters(network):
    start, f0, jacobian = network
    batches = np.random.default_rng(0).integers(0, 6, (20, 2))
    f, j = f0(X), jacobian(X)

    def gradient(p, step):
        left = f + j @ (p - start) - Y[:, 0]
        return sum(j[i] * left[i] for i in batches[step]) + RIDGE * (p - start) + DECAY * p

    optimizer = wl.SGD(0.2, batches)
    fit = fitted(network, optimizer, ridge=RIDGE, weight_decay=DECAY, degree=2)
    np.testing.assert_allclose(fit(X_TEST).mean, outputs(network, steps(optimizer, gradient, 20, start)), rtol=1e-9)


def test_the_end_is_the_minimum(network):
    """Ridge regression of the parameters: (JᵀJ + ρ + μ) θ = Jᵀ(y − f₀ + Jθ₀) + ρ θ₀."""
    start, f0, jacobian = network
    j = jacobian(X)
    matrix = j.T @ j + (RIDGE + DECAY) * np.eye(len(start))
    end = np.linalg.solve(matrix, j.T @ (Y[:, 0] - f0(X) + j @ start) + RIDGE * start)
    for optimizer in (wl.GradientFlow(), wl.GradientDescent(0.2), wl.Momentum(0.05, 0.8)):
        fit = fitted(network, optimizer, ridge=RIDGE, weight_decay=DECAY, degree=2)
        np.testing.assert_allclose(fit(X_TEST).mean, outputs(network, end), rtol=1e-10)


@pytest.mark.parametrize(
    "optimizer", [wl.GradientFlow(), wl.Momentum(0.1, 0.5), wl.SGD(0.1, np.arange(6).reshape(3, 2))], ids=repr
)
def test_the_covariance_is_that_of_all_features(optimizer):
    """f₀ is a sum of features with normal coefficients: the covariance is the sum over features, each trained on labels 0."""
    options = {"optimizer": optimizer, "ridge": RIDGE, "weight_decay": DECAY, "degree": 0.7}
    each = wl.train(kernel, X, np.zeros((6, 30)), initial=lambda x: features(x, FIRST), **options)(X_TEST, [0, 3]).mean
    covariance = wl.train(kernel, X, Y, **options)(X_TEST, [0, 3]).covariance
    np.testing.assert_allclose(covariance, each @ each.swapaxes(1, 2), rtol=1e-9, atol=1e-12)


def test_other_losses_decay_alike(network):
    options = {"ridge": RIDGE, "weight_decay": DECAY, "degree": 2}
    expected = fitted(network, wl.GradientDescent(0.2), **options)(X_TEST, 15).mean
    own = fitted(network, wl.GradientDescent(0.2), loss=lambda f, y: 0.5 * (f - y) ** 2, **options)(X_TEST, 15).mean
    np.testing.assert_allclose(own, expected, rtol=1e-12)


def test_the_mean_needs_no_degree_and_the_spread_does():
    options = {"ridge": RIDGE, "weight_decay": DECAY}
    p = wl.train(kernel, X, Y, **options)(X_TEST, 2.0)
    np.testing.assert_allclose(p.mean, wl.train(kernel, X, Y, degree=3, **options)(X_TEST, 2.0).mean, rtol=1e-12)
    with pytest.raises(ValueError, match="`degree=`"):
        _ = p.covariance
    with pytest.raises(ValueError, match="`degree=`"):
        p.sample(jax.random.key(0), 1)


def joint(x1, x2):
    """The law of f₀, a sum of FIRST's features with normal coefficients, and h, the same of SECOND's."""
    first, second = (np.stack([features(x, FIRST), features(x, SECOND)], 1) for x in (x1, x2))
    return np.einsum("nai,mbi->nmab", first, second)


@pytest.mark.parametrize(
    "optimizer", [wl.GradientFlow(), wl.Momentum(0.1, 0.5), wl.SGD(0.1, np.arange(6).reshape(3, 2))], ids=repr
)
def test_without_a_degree_the_start_and_its_radial_derivative_are_one_process(optimizer):
    """f_t is linear in (f₀, h); the degrees 1 and 0 tell what answers to h."""
    options = {"optimizer": optimizer, "ridge": RIDGE, "weight_decay": DECAY}

    def course(weights, degree):
        initial = {"initial": lambda x: features(x, weights), "degree": degree}
        return wl.train(kernel, X, np.zeros((6, 30)), **options, **initial)(X_TEST, [0, 3]).mean

    each = course(FIRST, 0) + course(SECOND, 1) - course(SECOND, 0)
    covariance = wl.train(kernel, X, Y, radial=joint, **options)(X_TEST, [0, 3]).covariance
    np.testing.assert_allclose(covariance, each @ each.swapaxes(1, 2), rtol=1e-9, atol=1e-12)


FLOW = pytest.param(wl.GradientFlow(), marks=pytest.mark.slow)


@pytest.mark.parametrize("optimizer", [FLOW, wl.GradientDescent(0.2)], ids=repr)
def test_other_losses_start_from_both_functions(optimizer):
    options = {"radial": joint, "weight_decay": DECAY, "optimizer": optimizer}
    samples = wl.train(kernel, X, Y[:, 0], **options)(X_TEST, 4).sample(jax.random.key(1), 9)
    drawn = {"samples": 9, "key": jax.random.key(1), "loss": lambda f, y: 0.5 * (f - y) ** 2}
    p = wl.train(kernel, X, Y[:, 0], **options, **drawn)(X_TEST, 4)
    np.testing.assert_allclose(p.mean, samples.mean(0), rtol=1e-6)
    np.testing.assert_allclose(p.covariance, np.cov(samples.T), rtol=1e-6, atol=1e-9)


def test_samples_of_both_functions_have_the_covariance():
    p = wl.train(kernel, X, Y[:, 0], radial=joint, weight_decay=DECAY)(X_TEST, 2.0)
    found = np.cov(p.sample(jax.random.key(0), 4000).T)
    error = np.sqrt((p.covariance**2 + np.outer(*2 * [np.diagonal(p.covariance)])) / 4000)
    assert abs((found - p.covariance) / error).max() < 4.5


def hidden_layer(activation, bias):
    """One hidden layer."""
    shapes = drawn(lambda n: {"w": (3, n), "v": (n, 1)} | ({"b": (n,)} if bias else {}))

    def apply(params, x):
        h = activation(x @ params["w"] + bias * params.get("b", 0.0))
        return h @ params["v"] / np.sqrt(h.shape[-1])

    return wl.Network(shapes, apply)


ACTIVATIONS = [lambda u: u, pytest.param(jax.nn.relu, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("rates", "degree"), [("ntk", 2), ({"v": 0.0}, 1)], ids=["all", "hidden"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["linear", "relu"])
def test_the_radial_derivative_of_a_homogeneous_network_is_its_degree_times_itself(activation, rates, degree):
    net = hidden_layer(activation, bias=0.0)
    own = wl.limit(net, (3,), learning_rates=rates)
    found = wl.radial(own, net).nngp(X[:2])
    expected = np.multiply.outer(own.nngp(X[:2]), np.outer([1, degree], [1, degree]))
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.slow
def test_the_radial_derivative_of_a_network_with_biases_has_the_law_of_finite_networks():
    """With one hidden layer the second moments are those of any width."""
    net = hidden_layer(jax.nn.relu, bias=0.5)

    def both(key):
        params = net.init(key, 8)
        f = jax.vmap(lambda x: jnp.stack(jax.jvp(lambda p: net.apply(p, x)[0], (params,), (params,))))(X[:3])
        return jnp.einsum("mi,nj->mnij", f, f)

    drawn = jax.lax.map(both, jax.random.split(jax.random.key(0), 40_000), batch_size=1000)
    found = wl.radial(wl.limit(net, (3,)), net).nngp(X[:3])
    assert abs((found - drawn.mean(0)) / (drawn.std(0) / 200)).max() < 4.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radial": joint}, "weight_decay= > 0|weight_decay=0"),
        ({"radial": joint, "weight_decay": 0.1, "degree": 2}, "degree=2"),
        ({"radial": 3, "weight_decay": 0.1}, "got int"),
    ],
)
def test_a_radial_derivative_without_use_is_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        wl.train(kernel, X, Y, **options)


def test_a_kernel_of_another_shape_is_no_law_of_both():
    with pytest.raises(ValueError, match="expected \\(4, 4, 2, 2\\)"):
        _ = wl.train(kernel, X, Y, radial=lambda a, b: kernel(a, b)[0], weight_decay=0.1)(X_TEST, 1.0).covariance


def test_the_readout_alone_has_degree_one():
    last = {"regime": "last", "weight_decay": DECAY}
    expected = wl.train(kernel, X, Y, degree=1, **last)(X_TEST, 2.0).covariance
    np.testing.assert_allclose(wl.train(kernel, X, Y, **last)(X_TEST, 2.0).covariance, expected)


def test_away_from_the_data_the_start_shrinks_like_the_weights():
    """Points that the kernel takes for independent: c = e^{−μt} at degree 1."""

    def independent(x1, x2):
        return (np.eye(len(x1)) if len(x1) == len(x2) else np.zeros((len(x1), len(x2))),) * 2

    fit = wl.train(independent, X, Y, weight_decay=0.5, degree=1.0)
    np.testing.assert_allclose(fit(X_TEST, 3.0).covariance, np.exp(-2 * 0.5 * 3.0) * np.eye(4), rtol=1e-12)
