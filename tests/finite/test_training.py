"""Trained finite networks: their courses against explicit loops, exact kernel descent, and the limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import mlp
from widelimit.finite import train

X = np.random.default_rng(0).normal(size=(6, 4))
Y = np.sin(X[:, :1])
NET = mlp(jnp.tanh, inputs=4, layers=1)
KEY = jax.random.key(3)


def course(optimizer, **options):
    return train(NET, X, Y, key=KEY, optimizer=optimizer, **({"width": 16, "loss": wl.squared_error} | options))


def looped(member, optimizer, batches, rates):
    """The same training, written out; momentum as in `optax.sgd`."""
    params = NET.init(jax.random.fold_in(jax.random.fold_in(KEY, 16), member), 16)
    velocity = {p: 0.0 for p in params}
    beta = getattr(optimizer, "beta", 0.0)

    def objective(params, batch):
        return sum(0.5 * jnp.sum((NET.apply(params, X[b]) - Y[b]) ** 2) for b in batch)

    for batch in batches:
        gradient = jax.grad(objective)(params, batch)
        for path, g in gradient.items():
            velocity[path] = g + beta * velocity[path]
            ahead = g + beta * velocity[path]  # Nesterov's; without momentum the gradient itself
            params[path] = params[path] - rates.get(path, 1.0) * optimizer.lr * ahead
    return np.stack([NET.apply(params, x) for x in X])


def test_minibatches_are_descended_in_their_order():
    batches = np.array([[0, 3], [1, 1], [5, 2], [4, 0]])
    found = course(wl.SGD(0.3, batches), members=2, rates={"b0": 0.5})
    expected = looped(1, wl.SGD(0.3, batches), batches, {"b0": 0.5})
    np.testing.assert_allclose(found.values[1, -1], expected, rtol=1e-12)


@pytest.mark.parametrize("beta", [0.8, 0.0])
def test_momentum_looks_ahead_as_the_limit_does(beta):
    optimizer = wl.Momentum(0.05, beta, nesterov=True)
    found = course(optimizer, steps=3)
    np.testing.assert_allclose(found.values[0, -1], looped(0, optimizer, [range(6)] * 3, {}), rtol=1e-12)


def test_a_network_linear_in_what_is_trained_follows_its_own_kernel_exactly():
    frozen = {"w0": 0, "b0": 0}
    found = course(wl.GradientDescent(0.2), steps=10, tangent=X, rates=frozen, replica_axes=(0,))
    f, ntk = found.values[0, 0], found.ntk[0, 0]
    for _ in range(10):
        f = f - 0.2 * ntk @ (f - Y)
    np.testing.assert_allclose(found.values[0, -1], f, rtol=1e-10)
    np.testing.assert_allclose(found.drift, 0, atol=1e-12)


def test_a_member_does_not_depend_on_who_is_trained_beside_it():
    one = course(wl.GradientDescent(0.1), steps=4, every=2, members=3)
    other = course(wl.GradientDescent(0.1), steps=4, every=4, members=2, memory=1.0)
    np.testing.assert_allclose(one.values[:2, [0, 2]], other.values, rtol=1e-12)
    np.testing.assert_array_equal(one.steps, [0, 2, 4])


def test_kernels_are_recorded_less_often_than_values_and_column_by_column():
    whole = course(wl.GradientDescent(0.1), steps=4, tangent=X, replica_axes=(0,))
    column = course(
        wl.GradientDescent(0.1), steps=4, tangent=X, against=X[2:3], tangent_every=2, replica_axes=(0,)
    )  # fmt: skip
    np.testing.assert_allclose(column.values, whole.values, rtol=1e-12)
    np.testing.assert_array_equal(column.ntk_steps, [0, 2, 4])
    np.testing.assert_allclose(column.ntk, whole.ntk[:, ::2, :, 2:3], rtol=1e-10)


@pytest.mark.slow
def test_distance_and_drift_from_the_limit_fall_with_the_width():
    """Distance as width^-1/2; the drift at least so fast (1/width here: Dyer & Gur-Ari 2020 find that order for its mean)."""
    kernel = wl.limit(NET, X[0])
    ntk = np.asarray(kernel.ntk(X))
    distances, drifts = [], []
    for width in (32, 512):
        found = course(
            wl.GradientDescent(0.1),
            width=width, steps=20, every=20, members=16, tangent=X,
            rates=kernel.rates(width), replica_axes=kernel.replica_axes,
        )  # fmt: skip
        start = found.values[:, 0]
        decay = np.linalg.matrix_power(np.eye(6) - 0.1 * ntk, 20)
        limit = np.stack([start, Y + np.einsum("ij,mjo->mio", decay, start - Y)], 1)
        distances.append(found.distance(limit).mean())
        drifts.append(found.drift[:, -1].mean())
    distance, drift = (np.log(pair[1] / pair[0]) / np.log(16) for pair in (distances, drifts))
    assert -0.75 < distance < -0.3
    assert -1.3 < drift < -0.4


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (wl.GradientDescent(0.1), {}, "how many `steps`"),
        (wl.GradientDescent(0.1), {"steps": 5, "every": 2}, "must divide the 5 steps"),
        (wl.GradientDescent(0.1), {"steps": 6, "every": 2, "tangent_every": 3}, "tangent_every=3"),
        (wl.GradientFlow(), {"steps": 5}, "networks take discrete steps"),
        (wl.SGD(0.1, np.array([[7]])), {}, "there are 6"),
        (wl.GradientDescent(1e6), {"steps": 60}, "smaller learning rate"),
    ],
)
def test_what_cannot_be_trained_is_said(optimizer, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        course(optimizer, **options)


def test_labels_are_as_many_as_examples():
    with pytest.raises(ValueError, match="first axes must agree"):
        train(NET, X, Y[:3], key=KEY, width=4, optimizer=wl.GradientDescent(0.1), loss=wl.squared_error, steps=1)


def test_no_drift_without_kernels():
    with pytest.raises(ValueError, match="tangent=examples"):
        course(wl.GradientDescent(0.1), steps=1).drift  # noqa: B018
