"""E[f(u) g(v)] by brute force: panels of Gauss-Legendre, cut where f and g have a kink at zero."""

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_REACH = 11.0


def _panels(low, high, count):
    """Nodes and weights of `count` panels on [low, high], for arrays of limits."""
    edges = low[..., None] + (high - low)[..., None] * np.linspace(0, 1, count + 1)
    half = np.diff(edges)[..., None] / 2
    middle = (edges[..., :-1] + edges[..., 1:])[..., None] / 2
    nodes, weights = middle + half * _NODES, half * _WEIGHTS
    return nodes.reshape(*low.shape, -1), weights.reshape(*low.shape, -1)


def _cut(cut, count):
    """The line to ±11 deviations in panels, with an edge at `cut`."""
    cut = np.clip(np.asarray(cut, float), -_REACH, _REACH)
    parts = [_panels(np.full_like(cut, -_REACH), cut, count), _panels(cut, np.full_like(cut, _REACH), count)]
    x, w = (np.concatenate(both, -1) for both in zip(*parts, strict=True))
    return x, w * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def one(f, k, m=0.0, count=10):
    """E[f(u)], u ~ N(m, k)."""
    s = np.sqrt(k)
    x, w = _cut(-m / s if s else 0.0, count)
    return np.sum(w * f(m + s * x))


def two(f, g, k11, c, k22, m1=0.0, m2=0.0, count=10):
    """E[f(u) g(v)], (u, v) Gaussian with means m1, m2 and covariance [[k11, c], [c, k22]]."""
    s1, s2 = np.sqrt(k11), np.sqrt(k22)
    rho = np.clip(c / (s1 * s2), -1, 1)
    rest = np.sqrt((1 - rho) * (1 + rho))
    x, w = _cut(-m1 / s1, count)
    if rest == 0:
        return np.sum(w * f(m1 + s1 * x) * g(m2 + s2 * rho * x))
    y, wy = _cut(-(m2 / s2 + rho * x) / rest, count)
    v = m2 + s2 * (rho * x[:, None] + rest * y)
    return np.sum(w * f(m1 + s1 * x) * np.sum(wy * g(v), -1))
