"""Remez exchange in high precision: where the constants of `_elementary.py` come from.

Run as a script, prints them.
"""

from itertools import pairwise

import mpmath as mp


def arctan_over_x(s):
    """atan(√s)/√s, analytic at s = 0."""
    if s < mp.mpf(10) ** -20:
        return 1 - s / 3
    root = mp.sqrt(s)
    return mp.atan(root) / root


def _value(coefficients, x):
    return sum(c * x**k for k, c in enumerate(coefficients))


def _level(f, degree, nodes):
    """Coefficients and signed relative error of the polynomial that levels the nodes."""
    rows, values = [], []
    for k, x in enumerate(nodes):
        rows.append([x**j for j in range(degree + 1)] + [(-1) ** k * f(x)])
        values.append(f(x))
    solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix(values)))
    return solution[:-1], solution[-1]


def _extrema(error, nodes, per_gap=40):
    """One extremum of the error between each two of its sign changes."""
    points = []
    for a, b in pairwise(nodes):
        points += [a + (b - a) * i / per_gap for i in range(per_gap)]
    points.append(nodes[-1])
    values = [error(x) for x in points]
    best, start = [], 0
    for i in range(1, len(points) + 1):
        if i == len(points) or mp.sign(values[i]) != mp.sign(values[start]):
            best.append(max(range(start, i), key=lambda j: abs(values[j])))
            start = i
    return [points[j] for j in best]


def remez(f, degree, lower=0, upper=1, *, digits=40, rounds=8):
    """The polynomial of least worst relative error on [lower, upper], constant term first.

    Returns:
        `(coefficients, error)`: mpmath numbers.
    """
    with mp.workdps(digits):
        count = degree + 2
        middle, half = mp.mpf(lower + upper) / 2, mp.mpf(upper - lower) / 2
        nodes = [middle - half * mp.cos(mp.pi * k / (count - 1)) for k in range(count)]
        for _ in range(rounds):
            coefficients, level = _level(f, degree, nodes)
            ends = [mp.mpf(lower), *nodes[1:-1], mp.mpf(upper)]
            found = _extrema(lambda x: _value(coefficients, x) / f(x) - 1, ends)  # noqa: B023
            if len(found) != count:
                break
            nodes = found
        return coefficients, abs(level)


if __name__ == "__main__":
    for name, degree in (("float32", 8), ("float64", 20)):
        constants, worst = remez(arctan_over_x, degree)
        print(name, degree, mp.nstr(worst, 3))
        print([float(c) for c in constants])
