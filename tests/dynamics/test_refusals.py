"""What `wl.train` and its fits refuse, and how they say it."""

import jax
import numpy as np
import pytest

import widelimit as wl
from dynamics.features import X_TEST, X, Y, kernel

CLASSES = np.array([0, 1, 2, 2, 0, 1])
KEY = jax.random.key(0)


def train(y=Y, **options):
    return wl.train(kernel, X, y, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train(Y[:5]), r"got y of shape \(5, 2\); expected \(6\) or \(6, outputs\)"),
        (lambda: train(np.zeros((6, 2, 3))), "at most one axis of outputs"),
        (lambda: train(np.where(np.arange(6) == 3, np.nan, 1.0)), r"NaN or infinite values \(examples \[3\]\)"),
        (lambda: train(ridge=-1.0), r"`wl.train\(..., ridge=-1.0\)`: expected a finite number >= 0"),
        (lambda: train(weight_decay=np.inf), "weight_decay=inf"),
        (lambda: train(regime="first"), "'ntk', 'last'"),
        (lambda: train(method="cholesky"), "'auto', 'eigh', 'lanczos'"),
        (lambda: train(samples=3, key=KEY), "is exact without samples"),
        (lambda: train(initial=lambda x: np.zeros(len(x)))(X_TEST), r"`f0\(x\)` has the shape \(6,\)"),
        (lambda: train(optimizer=wl.GradientDescent(100.0)), "largest stable step"),
        (lambda: wl.GradientDescent(0.0), r"`wl.GradientDescent\(..., lr=0.0\)`: expected a positive number"),
        (lambda: wl.Momentum(0.1, 1.0), "expected 0 <= beta < 1"),
        (lambda: wl.SGD(0.1, np.zeros((3, 2))), r"expected integers of shape \(steps, B\)"),
        (lambda: train(optimizer=wl.SGD(0.1, np.array([[0, 6]]))), "indices from 0 to 6; expected 0 to 5"),
        (lambda: train(CLASSES, loss=wl.cross_entropy, outputs=2), "got classes from 0 to 2; expected 0 to 1"),
        (lambda: train(CLASSES - 1, loss=wl.cross_entropy), "got classes from -1 to 1"),
        (lambda: train(loss=wl.cross_entropy, samples=3), "expected both, samples > 0 and a key"),
        (lambda: train(loss=lambda f, y: f - y), "expected one number for one example"),
        (lambda: train(loss=lambda f, y: f @ np.ones(5)), r"`loss\(f, y\)` failed on one example, f of shape \(2,\)"),
        (lambda: train(loss=wl.quantile(0.5)), r"smooth it, `wl.quantile\(0.5, smooth=0.01\)`"),
        (lambda: train(CLASSES, loss=wl.cross_entropy)(X_TEST), "has no minimum"),
        (lambda: train(loss=wl.huber(1.0), optimizer=wl.GradientDescent(0.1))(X_TEST), "expected a number of steps"),
        (lambda: train()(X_TEST, -1.0), r"`fit\(x, t=-1.0\)`: expected t >= 0"),
        (lambda: train()(X_TEST, [0.0, np.nan]), "expected t >= 0"),
        (lambda: train()(X_TEST, np.zeros((2, 2))), "expected a time or a vector of times"),
        (lambda: train(optimizer=wl.GradientDescent(0.1))(X_TEST, 1.5), "expected whole numbers"),
        (lambda: train(optimizer=wl.GradientDescent(0.1))(X_TEST, 1e17), "expected at most"),
        (lambda: train(optimizer=wl.SGD(0.1, [[0], [1]]))(X_TEST, 3), "has 2 batches; expected t <= 2"),
        (lambda: train()(X_TEST).sample(KEY, 0), "expected n >= 1"),
    ],
)  # fmt: skip
def test_values_are_refused_with_the_call(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train(optimizer=0.1), r"`wl.train\(..., optimizer=0.1\)`: expected `wl.GradientFlow\(\)`"),
        (lambda: train(initial=np.zeros(6)), "expected a function of inputs"),
        (lambda: train(np.array(["a"] * 6)), "expected real numbers or integers"),
        (lambda: train(Y[:, 0], loss=wl.cross_entropy), r"expected classes \(integers\) or probabilities"),
    ],
)  # fmt: skip
def test_types_are_refused_with_the_call(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a, b: kernel(a, b)[0], r"returned ndarray; expected a pair \(K, Θ\)"),
        (lambda a, b: (np.eye(3),) * 2, r"`kernel\(x, ...\)` has the shape \(3, 3\); expected \(6, 6\)"),
        (lambda a, b: (kernel(a, b)[0], kernel(a, b)[1][:, :, None]), r"expected \(6, 6\), or with the output's finite axes"),
        (lambda a, b: (kernel(a, b)[0], np.triu(kernel(a, b)[1])), "is not symmetric, by"),
    ],
)  # fmt: skip
def test_functions_that_are_no_kernels_are_refused(function, message):
    with pytest.raises(ValueError, match=message):
        wl.train(function, X, Y)


def test_no_examples_are_refused_and_no_test_points_are_none():
    with pytest.raises(ValueError, match="x holds no example"):
        wl.train(kernel, X[:0], Y[:0])
    p = train()(X_TEST[:0], [1.0, np.inf])
    assert p.mean.shape == (2, 0, 2)
    assert p.covariance.shape == (2, 0, 0)


def test_the_spread_of_one_start_is_refused():
    p = train(CLASSES, loss=wl.cross_entropy, optimizer=wl.GradientDescent(0.1))(X_TEST, 2)
    with pytest.raises(ValueError, match="samples=100"):
        _ = p.covariance
