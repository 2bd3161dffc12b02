"""Real networks: gradient descent is that of the network's own code, and ensembles meet the limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit import exact
from widelimit.exact._descent import Setup, descend, spectrum

K, WIDTH = 3, 128
KEY = jax.random.key(0)
PARAMETRISATIONS = ("ntk", "standard")


@pytest.fixture(scope="module")
def task():
    return exact.Permutation(K, (2, 0, 1))


@pytest.fixture(scope="module")
def inputs():
    return exact.all_inputs(K)


@pytest.fixture(scope="module")
def ensemble(task):
    return exact.Ensemble(task, 400, WIDTH, parametrisation="ntk", key=KEY)


@pytest.fixture(scope="module")
def average(ensemble, inputs):
    return ensemble(inputs)


def members(parametrisation, count=2):
    net = exact.network(K, K, parametrisation)
    return net, jax.jit(jax.vmap(lambda key: net.init(key, 16)))(jax.random.split(KEY, count))


@pytest.mark.parametrize("layers", ["both", "last"])
@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_a_step_is_the_gradient_of_the_networks_own_code(task, parametrisation, layers):
    net, params = members(parametrisation)
    labels = jnp.asarray(task.labels, float)

    def loss(one):
        return 0.5 * jnp.sum((jax.vmap(lambda x: net.apply(one, x))(jnp.eye(K)) - labels) ** 2)

    slopes = jax.jit(jax.vmap(jax.grad(loss)))(params)
    slopes["w1"] *= layers == "both"
    setup, steps = Setup(K, K, 16, parametrisation, layers == "both"), jnp.array([0.1, 0.2])
    done = descend(setup, params, labels, steps, tolerance=jnp.array(0.0), most=jnp.array(1))
    for name, slope in slopes.items():
        expected = params[name] - steps[:, None, None] * slope
        np.testing.assert_allclose(done.params[name], expected, atol=1e-13)


def tangent_kernels(net, params, k):
    """J Jᵀ of every member on the basis vectors, by automatic differentiation of its own code."""

    def outputs(one):
        return jax.vmap(lambda x: net.apply(one, x))(jnp.eye(k)).ravel()

    jacobians = jax.jit(jax.vmap(jax.jacrev(outputs)))(params).values()
    flat = np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in jacobians], -1)
    return flat @ flat.transpose(0, 2, 1)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_eigenvalues_are_bounded_by_those_of_the_tangent_kernel(parametrisation):
    net, params = members(parametrisation)
    bounds = jax.jit(spectrum, static_argnums=0)(Setup(K, K, 16, parametrisation, True), params)
    for i, kernel in enumerate(tangent_kernels(net, params, K)):
        values = np.linalg.eigvalsh(kernel)
        assert bounds.smallest[i] <= values[0] + 1e-12
        assert values[-1] - 1e-12 <= bounds.largest[i] <= 1.3 * values[-1]


def test_bounds_of_many_outputs_hold_too():
    net = exact.network(K, 20)
    params = jax.jit(jax.vmap(lambda key: net.init(key, 16)))(jax.random.split(KEY, 2))
    bounds = jax.jit(spectrum, static_argnums=0)(Setup(K, 20, 16, "ntk", True), params)
    for i, kernel in enumerate(tangent_kernels(net, params, K)):
        values = np.linalg.eigvalsh(kernel)
        assert bounds.smallest[i] <= values[0] + 1e-12
        assert values[-1] <= bounds.largest[i] <= 2 * values[-1]


def test_both_parametrisations_start_from_one_function():
    (ntk, a), (standard, b) = (members(each) for each in PARAMETRISATIONS)
    x = jnp.array([1.0, 0.0, -2.0])
    values = (
        jax.jit(jax.vmap(lambda p, net=net: net.apply(p, x)))(params) for net, params in ((ntk, a), (standard, b))
    )
    np.testing.assert_allclose(*values, rtol=1e-12)


def test_training_examples_are_learnt(average, task):
    basis = average.x.sum(-1) == 1
    np.testing.assert_allclose(average.mean[basis], task.truth(average.x[basis]), atol=2e-5)
    assert average.steps < 60


def test_mean_and_variance_meet_the_limit(average, task, inputs):
    """Within the scatter, and a bias of the mean of at most 0.02 at this width, see `Ensemble`."""
    several = inputs.sum(-1) > 1
    limit = task.variance(inputs)[several, None]
    off = average.mean[several] - task.mean(inputs)[several]
    assert (np.abs(off) < 4 * np.sqrt(limit / average.units) + 0.02).all()
    assert (average.variance[several] / limit).mean() == pytest.approx(1, abs=0.1)


def test_the_rounded_average_is_exact(average):
    assert average.correct("zero").all()
    assert average.correct("midpoint").all()


@pytest.mark.slow
def test_standard_parametrisation_follows_the_last_layers_limit(task, inputs):
    ensemble = exact.Ensemble(task, 300, 512, parametrisation="standard", key=KEY)
    average, two = ensemble(inputs), inputs.sum(-1) == 2
    truth = task.truth(inputs)
    found = average.mean[two][~truth[two]].mean()
    last, ntk = (task.mean(inputs, regime=regime)[two][~truth[two]].mean() for regime in ("last", "ntk"))
    assert ensemble.regime == "last"
    assert abs(found - last) < 0.3 * abs(ntk - last)


def test_antithetic_pairs_leave_hardly_any_scatter(task, inputs):
    paired = exact.Ensemble(task, 60, 512, parametrisation="ntk", key=KEY, antithetic=True)(inputs)
    several = inputs.sum(-1) > 1
    assert (paired.members, paired.units) == (60, 30)
    assert (paired.variance[several] < 0.05 * task.variance(inputs)[several, None]).all()
    assert paired.correct("midpoint").all()


def test_a_stopped_run_is_taken_up_again(ensemble, average, inputs):
    rest = ensemble(inputs, after=ensemble(inputs, stop=150))
    assert rest.members == average.members
    np.testing.assert_allclose(rest.mean, average.mean, atol=1e-6)
    np.testing.assert_allclose(rest.variance, average.variance, atol=1e-6)


@pytest.mark.slow
def test_a_small_budget_changes_nothing(task, average, inputs):
    small = exact.Ensemble(task, 40, WIDTH, parametrisation="ntk", key=KEY, budget=1e-5)
    whole = exact.Ensemble(task, 40, WIDTH, parametrisation="ntk", key=KEY)
    assert small._chunk(len(inputs)) < whole._chunk(len(inputs))
    np.testing.assert_allclose(small(inputs).mean, whole(inputs).mean, atol=2e-5)


def test_kept_networks_are_the_same_networks(ensemble, average, inputs):
    np.testing.assert_allclose(ensemble.train()(inputs).mean, average.mean, atol=1e-6)


def test_kept_networks_must_fit_the_budget(task):
    ensemble = exact.Ensemble(task, 400, WIDTH, parametrisation="ntk", key=KEY, budget=1e-5)
    with pytest.raises(MemoryError, match="forgets each chunk, or raise `budget`"):
        ensemble.train()


def test_a_step_above_the_stable_one(task, inputs, ensemble):
    stable = ensemble.largest_stable_step
    bad = exact.Ensemble(task, 400, WIDTH, parametrisation="ntk", key=KEY, step=1.01 * stable)
    with pytest.raises(ValueError, match=f"the largest stable one is {stable:.4g} = 2/λ_max") as error:
        bad(inputs)
    assert "leave `step` out" in str(error.value)


def test_training_that_does_not_end(task, inputs):
    slow = exact.Ensemble(task, 400, WIDTH, parametrisation="ntk", key=KEY, step=1e-3, most_steps=10)
    with pytest.raises(RuntimeError, match="after 10 steps a network is still"):
        slow(inputs)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 0}, "`size` must be a whole number, at least 1"),
        ({"size": 3, "antithetic": True}, "`size` must be even"),
        ({"parametrisation": "mup"}, '`parametrisation` must be "ntk" or "standard"'),
        ({"layers": "first"}, '`layers` must be "both" or "last"'),
        ({"step": 0.0}, "`step` must be positive"),
    ],
)
def test_bad_settings(task, changes, words):
    with pytest.raises(ValueError, match=words):
        exact.Ensemble(task, **{"size": 2, "width": 8, "parametrisation": "ntk", "key": KEY} | changes)


def test_an_input_of_zeros(ensemble):
    with pytest.raises(ValueError, match="is all zeros"):
        ensemble(np.zeros((1, K), bool))
