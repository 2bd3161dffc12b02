"""The networks of the Tensor Programs papers' reference implementations, on the inputs that the reference numbers are for.

All weights have variance one, scales are in `apply`; sequences of different length are padded to one, and told by a mask.
"""

import jax
import jax.numpy as jnp
import numpy as np

import widelimit as wl
from networks import drawn, readout, relu

erf = jax.scipy.special.erf
LENGTHS, LONGEST = (7, 9), 9


def case(golden, name):
    """One entry of the reference numbers, and all inputs."""
    book = golden("tensor_programs.json")
    return next(c for c in book["cases"] if c["id"] == name), book["inputs"]


def product(h, w):
    return h @ w / jnp.sqrt(h.shape[-1])


def sentences(inputs, steps=LONGEST):
    """Two sentences of word vectors with ξ·ξ'/d as given, and which of their words is the last."""
    gram = np.array(inputs["glove_gram_16x16"])
    values, vectors = np.linalg.eigh(gram)
    words = vectors * np.sqrt(np.clip(values, 0, None) * len(gram))
    padded = np.zeros((2, LONGEST, len(gram)))
    padded[0, : LENGTHS[0]], padded[1] = words[: LENGTHS[0]], words[LENGTHS[0] :]
    last = np.eye(LONGEST)[[n - 1 for n in LENGTHS]]
    return {"words": padded[:, :steps], "last": last[:, :steps]}


def of_words(states):
    """A Gram matrix (2, 2, 9, 9) of states as (16, 16): one row for every word."""
    rows = [(s, t) for s, n in enumerate(LENGTHS) for t in range(n) if t < states.shape[-1]]
    return np.array([[states[s, r, t, q] for r, q in rows] for s, t in rows])


def recurrent(*, every_state):
    """s^t = erf(W s^{t-1} + U ξ^t + b), b = 0, read at the last word or at all."""

    def init(key, n):
        return drawn(lambda n: {"w": (n, n), "u": (16, n), "v": (n, 1)})(key, n) | {"b": jnp.zeros(n)}

    def apply(p, x):
        def step(s, xi):
            s = erf(product(s, p["w"]) + product(xi, p["u"]) + p["b"])
            return s, s

        _, states = jax.lax.scan(step, jnp.zeros_like(p["b"]), x["words"])
        return readout(p, states if every_state else x["last"] @ states)

    return wl.Network(init, apply)


def gated():
    """The gated recurrent unit with (1 + erf)/2 as gate, read at all words."""

    def gate(h):
        return (1 + erf(h)) / 2

    def shapes(n):
        weights = {f"{kind}{g}": (16 if kind == "u" else n, n) for kind in "uw" for g in "zrh"}
        return weights | {f"b{g}": (n,) for g in "zrh"} | {"v": (n, 1)}

    def apply(p, x):
        def step(h, xi):
            z, r = (gate(product(xi, p[f"u{g}"]) + product(h, p[f"w{g}"]) + p[f"b{g}"]) for g in "zr")
            new = product(xi, p["uh"]) + product(h * r, p["wh"]) + p["bh"]
            h = (1 - z) * h + z * erf(new)
            return h, h

        return readout(p, jax.lax.scan(step, jnp.zeros_like(p["bz"]), x["words"])[1])

    return wl.Network(drawn(shapes), apply)


def normalised():
    """relu of batch normalisation (ε = 0) of W x, over the examples that a mask names."""

    def apply(p, x):
        h, there = product(x["examples"], p["w"]), x["there"]
        mean = (there @ h) / there.sum()
        variance = (there @ (h - mean) ** 2) / there.sum()
        return readout(p, relu((h - mean) / jnp.sqrt(variance)))

    return wl.Network(drawn(lambda n: {"w": (13, n), "v": (n, 1)}), apply)


def batches(inputs):
    """A batch of seven and one of five."""
    x = np.array(inputs["X_12x13"])
    padded = np.zeros((2, 7, 13))
    padded[0], padded[1, :5] = x[:7], x[7:]
    return {"examples": padded, "there": np.array([[1.0] * 7, [1.0] * 5 + [0.0] * 2])}


def of_examples(kernel):
    """A kernel (2, 2, 7, 7) as (12, 12)."""
    rows = [(0, i) for i in range(7)] + [(1, i) for i in range(5)]
    return np.array([[kernel[s, t, i, j] for t, j in rows] for s, i in rows])
