"""The trained limit in closed form: reference numbers, dense linear algebra, and the general machinery."""

import math

import numpy as np
import pytest

from widelimit import exact

K = 4
REGIMES = ("ntk", "last")


@pytest.fixture(scope="module")
def task():
    return exact.Permutation(K, (2, 0, 3, 1))


@pytest.fixture(scope="module")
def inputs():
    return exact.all_inputs(K)


@pytest.fixture(scope="module", params=REGIMES)
def general(request, task):
    return request.param, task.fit(regime=request.param)


def arccosine(x1, x2, regime):
    """NNGP (and tangent kernel) of the two-layer network, by the textbook formula in the angle."""
    cosine = np.clip(x1 @ x2.T, -1, 1)
    angle = np.arccos(cosine)
    nngp = (np.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi * K)
    return nngp + (regime == "ntk") * cosine * (math.pi - angle) / (2 * math.pi * K)


def test_reference_numbers(golden):
    for row in golden("permutations.json")["rows"]:
        task, x = exact.Permutation(row["k"], range(row["k"])), np.arange(row["k"]) < row["s"]
        mean = task.mean(x, regime=row["mode"])
        assert mean[0] == pytest.approx(row["mean_set"], abs=1e-10)
        assert row["mean_unset"] is None or mean[-1] == pytest.approx(row["mean_unset"], abs=1e-10)
        assert task.variance(x, regime=row["mode"]) == pytest.approx(row["var"], abs=1e-10)


@pytest.mark.parametrize("t", [0.0, 0.7, 6.0, math.inf])
@pytest.mark.parametrize("regime", REGIMES)
def test_closed_form_is_the_dense_formula(task, inputs, regime, t):
    x, basis = task.normalise(inputs), np.eye(K)
    values, vectors = np.linalg.eigh(arccosine(basis, basis, regime))
    learnt = vectors * ((1 - np.exp(-values * t)) / values) @ vectors.T
    w = arccosine(x, basis, regime) @ learnt
    cross = w @ arccosine(basis, x, "last")
    dense = arccosine(x, x, "last") + w @ arccosine(basis, basis, "last") @ w.T - cross - cross.T
    np.testing.assert_allclose(task.mean(inputs, t=t, regime=regime), w @ task.labels, atol=1e-7)  # arccos near 1
    np.testing.assert_allclose(task.covariance(inputs, t=t, regime=regime), dense, atol=1e-7)


@pytest.mark.parametrize("t", [0.0, 0.7, math.inf])
def test_general_machinery_agrees(task, inputs, general, t):
    regime, fit = general
    found = fit(task.normalise(inputs), t=t)
    np.testing.assert_allclose(found.mean, task.mean(inputs, t=t, regime=regime), atol=1e-12)
    np.testing.assert_allclose(found.covariance, task.covariance(inputs, t=t, regime=regime), atol=1e-12)


@pytest.mark.parametrize("regime", REGIMES)
def test_variance_is_the_covariance_diagonal(task, inputs, regime):
    covariance = task.covariance(inputs, t=2.0, regime=regime)
    np.testing.assert_allclose(task.variance(inputs, t=2.0, regime=regime), np.diagonal(covariance), atol=1e-15)


def test_cross_covariance_is_a_block_of_the_whole(task, inputs):
    whole = task.covariance(inputs)
    np.testing.assert_allclose(task.covariance(inputs[:3], inputs[5:9]), whole[:3, 5:9], atol=1e-16)


@pytest.mark.parametrize("regime", REGIMES)
def test_training_examples_are_learnt_without_scatter(task, regime):
    basis = np.eye(K, dtype=bool)
    np.testing.assert_allclose(task.mean(basis, regime=regime), task.labels, atol=1e-15)
    np.testing.assert_allclose(task.variance(basis, regime=regime), 0, atol=1e-15)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("k", [2, 3, 7, 11])
def test_sign_is_the_permuted_input_everywhere(k, regime):
    task, x = exact.Permutation(k, np.random.default_rng(k).permutation(k)), exact.all_inputs(k)
    mean = task.mean(x, regime=regime)
    assert (task.round(mean, x, regime=regime) == x[:, list(task.order)]).all()
    assert (task.round(mean, x, "midpoint", regime=regime) == x[:, list(task.order)]).all()


def test_unset_mean_is_positive_early_in_training():
    task, x = exact.Permutation(5, range(5)), np.arange(5) < 2
    assert task.mean(x, t=1.0)[-1] > 0 > task.mean(x)[-1]


def test_random_inputs_have_the_ones_asked_for():
    import jax

    assert (exact.random_inputs(9, 50, key=jax.random.key(0), ones=3).sum(1) == 3).all()
    counts = exact.random_inputs(9, 500, key=jax.random.key(1)).sum(1)
    assert set(counts) == set(range(1, 10))


@pytest.mark.parametrize(
    ("order", "words"),
    [((0, 1, 1), "missing: 2"), ((0, 1, 3), "missing: 2"), ((0, 1), "needs 3 whole numbers")],
)
def test_what_is_no_permutation(order, words):
    with pytest.raises(ValueError, match=words):
        exact.Permutation(3, order)


def test_one_bit_is_no_permutation():
    with pytest.raises(ValueError, match="`k` must be a whole number, at least 2, got 1"):
        exact.Permutation(1, (0,))


def test_an_input_of_zeros(task):
    with pytest.raises(ValueError, match=r"`x\[1\]` is all zeros"):
        task.mean(np.array([[1, 0, 0, 0], [0, 0, 0, 0]]))


@pytest.mark.parametrize(
    ("x", "words"),
    [(np.array([1, 0, 0]), "needs 4 bits"), (np.array([1, 2, 0, 0]), "zeros and ones only, got values such as 2")],
)
def test_what_is_no_input(task, x, words):
    with pytest.raises(ValueError, match=words):
        task.mean(x)


def test_a_negative_time(task, inputs):
    with pytest.raises(ValueError, match="`t` is a training time"):
        task.mean(inputs, t=-1.0)
