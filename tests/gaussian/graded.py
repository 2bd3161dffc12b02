"""E[f(u) g(v)] by nested Gauss-Legendre panels graded towards the places where f and g are steep; means allowed."""

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
STEPS = np.geomspace(0.3, 3000, 15)
STEPS = np.concatenate([-STEPS, [0.0], STEPS])
REACH = 9.5


def _rule(*breaks):
    """Nodes and weights of the normal density on panels that end at the breaks, in standard deviations."""
    edges = np.unique(np.clip(np.concatenate([*breaks, np.linspace(-REACH, REACH, 20)]), -REACH, REACH))
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * NODES).ravel()
    return x, (half[:, None] * WEIGHTS).ravel() * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def one(f, k, m=0.0, places=(0.0,)):
    """E[f(u)], u ~ N(m, k)."""
    s = np.sqrt(k)
    x, w = _rule(*((p + STEPS - m) / s for p in places))
    return np.sum(w * f(m + s * x))


def two(f, g, law, places=(0.0,)):
    """E[f(u) g(v)] for law = (k11, c, k22, m1, m2)."""
    k11, c, k22, m1, m2 = law
    s1, slope = np.sqrt(k11), c / k11
    rest = k22 - slope * c
    rest = np.sqrt(rest) if rest > 1e-14 * k22 else 0.0
    near = [(p + STEPS - m1) / s1 for p in places]
    if slope:
        near += [((p + STEPS - m2) / slope) / s1 for p in places]
        near += [((p + rest * np.linspace(-9, 9, 19) - m2) / slope) / s1 for p in places if rest]
    x, w = _rule(*near)
    centre = m2 + slope * s1 * x
    if not rest:
        return np.sum(w * f(m1 + s1 * x) * g(centre))
    inner = np.empty_like(x)
    for i, m in enumerate(centre):
        y, v = _rule(*((p + STEPS - m) / rest for p in places))
        inner[i] = np.sum(v * g(m + rest * y))
    return np.sum(w * f(m1 + s1 * x) * inner)
