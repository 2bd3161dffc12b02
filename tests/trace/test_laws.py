"""The laws of parameters, read from the trace of `init`."""

import functools
import math
from fractions import Fraction
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.trace._jaxpr import trace
from widelimit.trace._laws import Declared, laws
from widelimit.trace._scale import Scale

WIDTHS = (32, 48, 64)
I = jax.nn.initializers


def paths_of(tree):
    return [
        jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]


def read(init, widths=WIDTHS, make_key=jax.random.key, **options):
    traced = [trace(functools.partial(lambda n, key: init(key, n), n), make_key(0)) for n in widths]
    return laws([body for body, _ in traced], paths_of(traced[0][1]), widths, **options)


def law_of(draw, **options):
    return read(lambda key, n: {"w": draw(key, n)}, **options)["w"]


def scale(coefficient, exponent=0):
    return Scale(float(coefficient), Fraction(exponent))


def cut(low, high):
    """Mean and variance of a standard normal between two bounds."""
    phi, z = NormalDist(), NormalDist().cdf(high) - NormalDist().cdf(low)

    def edge(x):
        return x * phi.pdf(x) if math.isfinite(x) else 0.0

    mean = (phi.pdf(low) - phi.pdf(high)) / z
    return mean, 1 + (edge(low) - edge(high)) / z - mean**2


ZERO = scale(0)
# The draw, its kind, mean and variance.
KNOWN = {
    "normal": (lambda k, n: jax.random.normal(k, (n, n)), "normal", ZERO, scale(1)),
    "scaled": (lambda k, n: jax.random.normal(k, (n, n)) * math.sqrt(2 / n), "normal", ZERO, scale(2, -1)),
    "scaled in the trace": (lambda k, n: jax.random.normal(k, (n, n)) / jnp.sqrt(n), "normal", ZERO, scale(1, -1)),
    "fan_in 9n": (
        lambda k, n: jax.random.normal(k, (3, 3, n, n)) * (2 / (9 * n)) ** 0.5,
        "normal",
        ZERO,
        scale("0", 0),
    ),
    "shifted": (lambda k, n: 3 - jax.random.normal(k, (n, n)) / 2, "normal", scale(3), scale(0.25)),
    "uniform": (lambda k, n: jax.random.uniform(k, (n, n)), "uniform", scale(0.5), scale(1 / 12)),
    "bounds": (
        lambda k, n: jax.random.uniform(k, (n, n), minval=-1 / math.sqrt(n), maxval=2 / math.sqrt(n)),
        "uniform",
        scale(0.5, "-1/2"),
        scale(0.75, -1),
    ),
    "lecun_normal": (lambda k, n: I.lecun_normal()(k, (n, n)), "truncated_normal", ZERO, scale(1, -1)),
    "lecun_uniform": (lambda k, n: I.lecun_uniform()(k, (n, n)), "uniform", ZERO, scale(1, -1)),
    "he_normal": (lambda k, n: I.he_normal()(k, (n, n)), "truncated_normal", ZERO, scale(2, -1)),
    "he_uniform": (lambda k, n: I.he_uniform()(k, (n, n)), "uniform", ZERO, scale(2, -1)),
    "glorot_normal": (lambda k, n: I.glorot_normal()(k, (7, n)), "truncated_normal", ZERO, scale(2, -1)),
    "glorot_uniform": (lambda k, n: I.glorot_uniform()(k, (n, 3 * n)), "uniform", ZERO, scale(0.5, -1)),
    "conv he_normal": (lambda k, n: I.he_normal()(k, (3, 3, n, n)), "truncated_normal", ZERO, scale(2 / 9, -1)),
    "first layer": (lambda k, n: I.lecun_normal()(k, (5, n)), "truncated_normal", ZERO, scale(0.2)),
    "variance_scaling": (
        lambda k, n: I.variance_scaling(3.0, "fan_out", "normal")(k, (n, 2 * n)),
        "normal",
        ZERO,
        scale(1.5, -1),
    ),
    "normal(0.02)": (lambda k, n: I.normal(0.02)(k, (n, n)), "normal", ZERO, scale(0.0004)),
    "uniform(0.1)": (lambda k, n: I.uniform(0.1)(k, (n, n)), "uniform", scale(0.05), scale(0.01 / 12)),
    "truncated_normal(0.5)": (
        lambda k, n: I.truncated_normal(0.5)(k, (n, n)),
        "truncated_normal",
        ZERO,
        scale(0.25 * cut(-2, 2)[1]),
    ),
    "lopsided": (
        lambda k, n: -jax.random.truncated_normal(k, -1.0, 3.0, (n, n)),
        "truncated_normal",
        scale(-cut(-1, 3)[0]),
        scale(cut(-1, 3)[1]),
    ),
    "one-sided": (
        lambda k, n: jax.random.truncated_normal(k, 0.5, jnp.inf, (n, n)),
        "truncated_normal",
        scale(cut(0.5, math.inf)[0]),
        scale(cut(0.5, math.inf)[1]),
    ),
    "nothing": (lambda k, n: 0.0 * jax.random.normal(k, (n, n)) + 1.5, "constant", scale(1.5), ZERO),
    "zeros": (lambda k, n: jnp.zeros((n, n)), "constant", ZERO, ZERO),
    "ones": (lambda k, n: jnp.ones((n,)), "constant", scale(1), ZERO),
    "constant": (lambda k, n: I.constant(0.3)(k, (n, n)), "constant", scale(0.3), ZERO),
    "numpy": (lambda k, n: np.full((n, n), 1 / n), "constant", scale(1, -1), ZERO),
}
KNOWN["fan_in 9n"] = (*KNOWN["fan_in 9n"][:3], scale(2 / 9, -1))


@pytest.mark.parametrize("name", KNOWN)
def test_exact_numbers(name):
    draw, kind, mean, variance = KNOWN[name]
    law = law_of(draw)
    assert law.kind == kind
    assert (law.mean.exponent, law.variance.exponent) == (mean.exponent, variance.exponent)
    assert law.mean.coefficient == pytest.approx(mean.coefficient, rel=1e-7, abs=0)
    assert law.variance.coefficient == pytest.approx(variance.coefficient, rel=1e-7, abs=0)


@pytest.mark.parametrize("name", KNOWN)
def test_single_precision_numbers(name):
    draw, kind, mean, variance = KNOWN[name]
    with jax.enable_x64(False):
        law = law_of(draw)
    assert (law.kind, law.mean.exponent, law.variance.exponent) == (kind, mean.exponent, variance.exponent)
    assert law.mean.coefficient == pytest.approx(mean.coefficient, rel=2e-7, abs=0)
    assert law.variance.coefficient == pytest.approx(variance.coefficient, rel=2e-7, abs=0)


@pytest.mark.parametrize("name", [name for name, (*_, variance) in KNOWN.items() if not variance.is_zero])
def test_against_a_large_draw(name):
    """Mean and variance of many entries, within five standard errors."""
    draw, width = KNOWN[name][0], 256 if name not in ("glorot_normal", "first layer") else 20_000
    law, x = law_of(draw), np.asarray(draw(jax.random.key(5), width)).ravel()
    squares = (x - x.mean()) ** 2
    assert abs(x.mean() - law.mean.at(width)) < 5 * x.std() / math.sqrt(x.size)
    finite_fan = 1 + 7 / width if name == "glorot_normal" else 1  # its variance is 2/(n + 7)
    assert abs(squares.mean() * finite_fan - law.variance.at(width)) < 5 * squares.std() / math.sqrt(x.size)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("initializer", ["lecun_normal", "lecun_uniform"])
def test_every_dtype_has_the_law_that_is_meant(initializer, dtype):
    law = law_of(lambda k, n: getattr(I, initializer)()(k, (n, n), dtype))
    assert (law.mean, law.variance) == (ZERO, scale(1, -1))


@pytest.mark.parametrize(
    "make_key", [jax.random.PRNGKey, functools.partial(jax.random.key, impl="rbg"), jax.random.key]
)
def test_every_kind_of_key(make_key):
    found = read(lambda key, n: [jax.random.normal(k, (n,)) for k in jax.random.split(key)], make_key=make_key)
    assert {law.variance for law in found.values()} == {scale(1)}


def layers(make):
    return lambda key, n: make(lambda k: I.lecun_normal()(k, (n, n)), jax.random.split(key, 3))


def drawn_and_split(key, n):
    following, now = jax.random.split(key)
    return following, I.lecun_normal()(now, (n, n))


REARRANGED = {
    "vmap": layers(lambda layer, keys: jax.vmap(layer)(keys)),
    "lax.map": layers(jax.lax.map),
    "stack": layers(lambda layer, keys: jnp.stack([layer(k) for k in keys])),
    "concatenate": layers(lambda layer, keys: jnp.concatenate([layer(k) for k in keys], axis=1)),
    "jit": layers(lambda layer, keys: jax.jit(layer)(keys[0])),
    "cast": layers(lambda layer, keys: layer(keys[0]).astype(jnp.float32).astype(jnp.float64)),
    "transposed": layers(lambda layer, keys: layer(keys[0]).T.reshape(-1)[::-1]),
    "fold_in": lambda key, n: I.lecun_normal()(jax.random.fold_in(jax.random.fold_in(key, 3), n), (n, n)),
    "part": lambda key, n: I.lecun_normal()(key, (n, n))[1:, ::2],
    "scan": lambda key, n: jax.lax.scan(lambda k, _: drawn_and_split(k, n), key, None, length=3)[1],
    "reversed scan": lambda key, n: jax.lax.scan(lambda k, _: drawn_and_split(k, n), key, None, length=3, reverse=True)[
        1
    ],
    "cond": lambda key, n: jax.lax.cond(n > 1, lambda k: drawn_and_split(k, n)[1], lambda k: jnp.zeros((n, n)), key),
    "where": lambda key, n: jnp.where(True, I.lecun_normal()(key, (n, n)), 0.0),
}


@pytest.mark.parametrize("name", REARRANGED)
def test_rearranged_draws_keep_their_law(name):
    law = law_of(REARRANGED[name])
    assert (law.kind, law.mean, law.variance) == ("truncated_normal", ZERO, scale(1, -1))


def test_one_draw_split_into_independent_leaves():
    found = read(lambda key, n: dict(zip("qkv", jnp.split(jax.random.normal(key, (n, 3 * n)), 3, axis=1), strict=True)))
    assert {law.variance for law in found.values()} == {scale(1)}
    assert list(found) == ["q", "k", "v"] or list(found) == sorted("qkv")


def test_unused_draws_do_not_matter():
    def init(key, n):
        jax.random.normal(key, (n,))
        return {"w": jax.random.normal(key, (n,))}

    assert read(init)["w"].variance == scale(1)


def same_key(key, n):
    return {"a": jax.random.normal(key, (n, n)), "b": jax.random.uniform(key, (n,))}


def same_child(key, n):
    child = jax.random.split(key, 3)[1]
    return {"a": jax.random.normal(child, (n,)), "b": jax.random.normal(jax.random.fold_in(key, 1), (n, 2))}


def tied(key, n):
    w = jax.random.normal(key, (n, n))
    return {"a": w, "b": w.T / 2}


def overlapping(key, n):
    w = jax.random.normal(key, (3 * n,))
    return {"a": w[: 2 * n], "b": w[n:]}


@pytest.mark.parametrize("init", [same_key, same_child, tied, overlapping])
def test_shared_random_bits_are_refused(init):
    with pytest.raises(ValueError, match=r"'a' and 'b' are made of the same random bits .*test_laws.py.* used twice"):
        read(init)


def test_parts_of_a_draw_that_do_not_overlap_are_independent():
    found = read(lambda key, n: (lambda w: {"a": w[:n], "b": w[n:]})(jax.random.normal(key, (3 * n,))))
    assert set(found) == {"a", "b"}


UNREADABLE = {
    "qr": (lambda k, n: jnp.linalg.qr(jax.random.normal(k, (n, n)))[0], "signs of R's diagonal"),
    "singular values": (lambda k, n: jnp.linalg.svd(jax.random.normal(k, (n, n)))[1], "come through `svd`"),
    "product": (
        lambda k, n: jax.random.normal(k, (n,)) * jax.random.uniform(jax.random.split(k)[0], (n,)),
        "joins several draws by `mul`",
    ),
    "entrywise scale": (
        lambda k, n: jax.random.normal(k, (n,)) * jnp.arange(n),
        "not the same number everywhere, in `mul`",
    ),
    "masked": (lambda k, n: jnp.tril(jax.random.normal(k, (n, n))), "not the same number everywhere, in `select_n`"),
    "sorted": (lambda k, n: jnp.sort(jax.random.normal(k, (n,))), "come through `sort`"),
    "gamma": (lambda k, n: jax.random.gamma(k, 2.0, (n,)), "come through `random_gamma`"),
    "laplace": (lambda k, n: jax.random.laplace(k, (n,)), "not from one of the laws"),
    "bernoulli": (lambda k, n: jax.random.bernoulli(k, 0.3, (n,)).astype(jnp.float32), "not from one of the laws"),
    "squared": (lambda k, n: jax.random.normal(k, (n,)) ** 2, "not from one of the laws"),
    "clipped": (lambda k, n: jnp.clip(jax.random.normal(k, (n,)), -1, 1), "not from one of the laws"),
    "repeated": (lambda k, n: jnp.tile(jax.random.normal(k, (n,)), 2), "the same draw .* is in several of its entries"),
    "broadcast": (
        lambda k, n: jnp.zeros((n, n)) + jax.random.normal(k, (n, 1)),
        "the same draw .* is in several of its entries",
    ),
    "same keys": (
        lambda k, n: jax.vmap(lambda k: jax.random.normal(k, (n,)))(jnp.stack([k, k])),
        "the same draw .* is in several",
    ),
    "mixed laws": (
        lambda k, n: jnp.concatenate([jax.random.normal(k, (n,)), 2 * jax.random.normal(jax.random.split(k)[0], (n,))]),
        "parts with different laws",
    ),
    "mixed kinds": (
        lambda k, n: jnp.concatenate([jax.random.normal(k, (n,)), jnp.zeros(n)]),
        "draws and constants are put together by `concatenate`",
    ),
    "numpy": (
        lambda k, n: np.random.default_rng(0).normal(size=(n, n)),
        r"an array of fixed numbers .*\(shape \(32, 32\)\)",
    ),
    "own key": (lambda k, n: jax.random.normal(jax.random.key(3), (n, n)), "a key that `init` makes itself"),
    "logarithm": (lambda k, n: jax.random.normal(k, (n,)) / math.log(n), r"at width 32, .* is not c·n\^a"),
    "changing": (
        lambda k, n: jax.random.normal(k, (n,)) if n < 40 else jnp.ones(n),
        r"not the same at every width: \['constant', 'normal'\]",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_refused_by_name(name):
    draw, why = UNREADABLE[name]
    with pytest.raises(ValueError, match=why) as refused:
        law_of(draw)
    assert "the law of the parameter 'w'" in str(refused.value)
    assert "wl.Network(init, apply, laws={'w': wl.normal(std)})" in str(refused.value)


@pytest.mark.parametrize("name", ["qr", "product", "gamma", "laplace", "repeated", "own key"])
def test_refusals_say_where(name):
    with pytest.raises(ValueError, match=r"test_laws\.py:\d+"):
        law_of(UNREADABLE[name][0])


GAINS = {
    "normal": (I.normal(), lambda w: jnp.linalg.norm(w, axis=0), scale(0.01, "1/2")),
    "uniform": (I.he_uniform(), lambda w: jnp.sqrt(jnp.sum(w * w, axis=0)), scale(2**0.5)),
    "truncated": (I.lecun_normal(), lambda w: 3 * jnp.linalg.norm(w, axis=0, keepdims=True), scale(3)),
}


@pytest.mark.parametrize("name", GAINS)
def test_norms_over_the_width_are_numbers(name):
    """The gains of weight normalisation: √(n E w²), by the law of large numbers."""
    initializer, norm, mean = GAINS[name]
    law = read(lambda key, n: {"w": initializer(key, (n, n)), "g": norm(initializer(key, (n, n)))})["g"]
    assert (law.kind, law.variance) == ("constant", ZERO)
    assert law.mean.exponent == mean.exponent
    assert law.mean.coefficient == pytest.approx(mean.coefficient, rel=1e-5)


def test_norms_over_a_few_entries_are_refused():
    with pytest.raises(ValueError, match=r"'g': its entries are sums of 3 draws .* which stay random"):
        read(lambda key, n: {"w": I.normal()(key, (3, n)), "g": jnp.linalg.norm(I.normal()(key, (3, n)), axis=0)})


def test_declared_laws_are_believed():
    declared = {"w": Declared("normal", lambda n: 0.0, lambda n: math.sqrt(2 / n))}
    law = law_of(UNREADABLE["qr"][0], declared=declared)
    assert (law.kind, law.mean, law.variance) == ("normal", ZERO, scale(2, -1))


def test_declared_parameters_may_share_bits():
    declared = {"a": Declared("normal", lambda n: 0.0, lambda n: 1.0)}
    assert set(read(same_key, declared=declared)) == {"a", "b"}


def test_declared_laws_name_parameters():
    declared = {"v": Declared("normal", lambda n: 0.0, lambda n: 1.0)}
    with pytest.raises(ValueError, match=r"`laws` names \['v'\], but the parameters are \['w'\]"):
        law_of(KNOWN["normal"][0], declared=declared)


@pytest.mark.parametrize(("std", "why"), [(math.log, "not c·n"), (lambda n: -1.0, "at least 0")])
def test_declared_laws_scale_with_the_width(std, why):
    with pytest.raises(ValueError, match=f"law declared for the parameter 'w' .*{why}"):
        law_of(KNOWN["normal"][0], declared={"w": Declared("normal", lambda n: 0.0, std)})


def test_untrained_leaves_may_be_any_numbers():
    law = law_of(lambda k, n: jnp.sin(jnp.arange(5.0)), untrained=lambda path: path == "w")
    assert law.kind == "fixed"
    for values in law.values:
        np.testing.assert_allclose(values, np.sin(np.arange(5.0)))


def test_whole_numbers_are_themselves():
    found = read(
        lambda key, n: {"key": key, "count": jnp.array(3), "w": jax.random.normal(jax.random.split(key)[0], (n,))}
    )
    assert set(found) == {"count", "w"}
    assert found["count"].kind == "fixed"
    assert [int(v) for v in found["count"].values] == [3, 3, 3]


@pytest.mark.parametrize(
    ("shape", "variance"),
    [(lambda n: (n, n), 4), (lambda n: (n, 4 * n), 1), (lambda n: (3, n, n), 4 / 3)],
    ids=["square", "wide", "tall"],
)
def test_orthogonal_matrices(shape, variance):
    """2 Q with orthonormal columns (or rows) of r entries: variance 4/r."""
    law = law_of(lambda k, n: I.orthogonal(2.0)(k, shape(n)), widths=(8, 12, 16))
    assert (law.kind, law.mean) == ("orthogonal", ZERO)
    np.testing.assert_allclose(law.variance.at(1), variance, rtol=1e-5)
    assert law.variance.exponent == -1
