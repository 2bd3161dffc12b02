"""Kernels of random features: exact, quick, and positive definite up to as many points as features."""

import numpy as np

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, 3, 30)) / 2
X, X_TEST = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
Y = RNG.normal(size=(6, 2))


def kernel(x1, x2):
    """K of tanh features; Θ of these and others."""
    k = features(x1, FIRST) @ features(x2, FIRST).T
    return k, k + features(x1, SECOND) @ features(x2, SECOND).T


def features(x, weights):
    x = np.asarray(x)
    return np.tanh(x @ weights.astype(x.dtype)) / 3


def matrices():
    """K(X, X), Θ(X, X), K(X_TEST, X), Θ(X_TEST, X), K(X_TEST, X_TEST)."""
    return (*kernel(X, X), *kernel(X_TEST, X), kernel(X_TEST, X_TEST)[0])


def steps(optimizer, gradient, count, a):
    """a after `count` steps with the optimizer written out once more; `gradient(a, step)`."""
    beta, nesterov = getattr(optimizer, "beta", 0.0), getattr(optimizer, "nesterov", False)
    velocity = np.zeros_like(a)
    for step in range(count):
        g = gradient(a, step)
        velocity = beta * velocity + g
        a = a - optimizer.lr * (g + beta * velocity if nesterov else velocity)
    return a
