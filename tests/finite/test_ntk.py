import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.sparse.linalg import aslinearoperator

from finite import relu
from widelimit.finite import empirical_ntk

TILED = 10_000  # bytes: a few examples a tile
STARVED = 100  # bytes: less than one Jacobian


@pytest.fixture(scope="module")
def net():
    """A network with three outputs, its parameters, seven and four examples."""
    made = relu.network(5, outputs=3)
    return made.apply, made.init(jax.random.key(1), 16), relu.examples(7, 5), relu.examples(4, 5, seed=1)


def reference(apply, params, x1, x2):
    """J J^T from one flat Jacobian an example."""
    flat, unravel = ravel_pytree(params)
    one = jax.jit(jax.jacobian(lambda p, x: jnp.ravel(apply(unravel(p), x))))
    j1, j2 = (np.stack([one(flat, x) for x in side]) for side in (x1, x2))
    return np.einsum("aip,bjp->abij", j1, j2)


@pytest.mark.parametrize("memory", [2**30, TILED, STARVED])
def test_is_jacobian_times_its_transpose(net, memory):
    apply, params, x1, x2 = net
    kernel = empirical_ntk(apply, params, memory=memory)(x1, x2)
    np.testing.assert_allclose(kernel, reference(apply, params, x1, x2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory", [2**30, TILED, STARVED])
def test_of_one_side_is_of_both(net, memory):
    apply, params, x, _ = net
    ntk = empirical_ntk(apply, params, memory=memory)
    np.testing.assert_allclose(ntk(x), ntk(x, jnp.copy(x)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory", [2**30, STARVED])
def test_trace_is_mean_of_diagonal(net, memory):
    apply, params, x1, x2 = net
    ntk = empirical_ntk(apply, params, memory=memory)
    np.testing.assert_allclose(ntk.trace(x1, x2), jnp.einsum("abii->ab", ntk(x1, x2)) / 3, rtol=1e-12, atol=1e-12)


def test_both_ways_agree_where_contraction_is_cheaper():
    """Many examples and few parameters: contraction. The same with no memory: products."""
    net = relu.network(2, outputs=1)
    params, x = net.init(jax.random.key(0), 3), relu.examples(60, 2)
    contracted, multiplied = (empirical_ntk(net.apply, params, memory=memory)(x) for memory in (2**30, 1000))
    np.testing.assert_allclose(contracted, multiplied, rtol=1e-12, atol=1e-12)


def test_rates_weight_the_share_of_each_leaf(net):
    apply, params, x1, x2 = net
    shares = {
        path: empirical_ntk(apply, params, rates=dict.fromkeys(params, 0.0) | {path: 1.0})(x1, x2) for path in params
    }
    rates = {path: 0.5 + i for i, path in enumerate(params)}
    weighted = sum(rates[path] * shares[path] for path in params)
    np.testing.assert_allclose(empirical_ntk(apply, params, rates=rates)(x1, x2), weighted, rtol=1e-12, atol=1e-12)


def test_leaves_that_are_not_real_stay_fixed(net):
    apply, params, x1, x2 = net
    more = params | {"steps": jnp.array(3), "key": jax.random.key(0), "name": 2}
    expected = empirical_ntk(apply, params)(x1, x2)
    np.testing.assert_array_equal(empirical_ntk(apply, more)(x1, x2), expected)


def test_nested_parameters_pytree_inputs_and_outputs():
    def apply(params, x):
        h = jnp.tanh(x["a"] @ params["layers"][0]["kernel"]) * x["b"]
        return {"one": h @ params["layers"][1]["kernel"], "two": jnp.sum(h)}

    def flat(params, x):
        y = apply(params, {"a": x[:3], "b": x[3]})
        return jnp.concatenate([jnp.ravel(y["one"]), y["two"][None]])

    keys = jax.random.split(jax.random.key(0), 2)
    params = {"layers": [{"kernel": jax.random.normal(k, s)} for k, s in zip(keys, [(3, 6), (6, 2, 2)], strict=True)]}
    params["layers"][1]["kernel"] = params["layers"][1]["kernel"].reshape(6, 4)
    x = relu.examples(5, 4)
    kernel = empirical_ntk(apply, params, rates={"layers/0/kernel": 1.0})({"a": x[:, :3], "b": x[:, 3]})
    assert kernel.shape == (5, 5, 5, 5)
    np.testing.assert_allclose(kernel, reference(flat, params, x, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 3), (21,), (21, 2)])
def test_operator_is_the_matrix(net, shape):
    apply, params, x, _ = net
    ntk = empirical_ntk(apply, params, rates={"v": 0.25})
    matrix = jnp.transpose(ntk(x), (0, 2, 1, 3)).reshape(21, 21)
    v = jax.random.normal(jax.random.key(2), shape)
    expected = (matrix @ v.reshape(21, -1)).reshape(shape)
    np.testing.assert_allclose(ntk.operator(x) @ v, expected, rtol=1e-12, atol=1e-12)


def test_operator_serves_scipy(net):
    apply, params, x, _ = net
    ntk = empirical_ntk(apply, params)
    v = np.ones(21)
    np.testing.assert_allclose(aslinearoperator(ntk.operator(x)) @ v, ntk.operator(x) @ v)


def test_dtype_follows_the_parameters(net):
    _, _, x1, x2 = net
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), net[1])
    kernel = empirical_ntk(net[0], params)(x1.astype(jnp.float32), x2.astype(jnp.float32))
    assert kernel.dtype == jnp.float32
    np.testing.assert_allclose(kernel, reference(net[0], net[1], x1, x2), rtol=1e-3, atol=1e-3)


def test_numpy_inputs(net):
    apply, params, x1, x2 = net
    ntk = empirical_ntk(apply, params)
    np.testing.assert_array_equal(ntk(np.asarray(x1), np.asarray(x2)), ntk(x1, x2))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (jnp.ones((7, 3)), "`apply` takes one example without it"),
        (jnp.ones(()), "needs one example axis"),
        (jnp.ones((0, 5)), "`x1` is an empty batch"),
        ({"a": jnp.ones((2, 5)), "b": jnp.ones((3, 5))}, "equally long"),
        ((), "holds no array"),
    ],
)
def test_bad_examples_are_named(net, x, message):
    with pytest.raises(ValueError, match=message):
        empirical_ntk(net[0], net[1])(x)


@pytest.mark.parametrize(
    ("rates", "message"), [({"w9": 1.0}, "names .'w9'."), ({"v": -1.0}, ">= 0"), ({"v": float("nan")}, ">= 0")]
)
def test_bad_rates_are_named(net, rates, message):
    with pytest.raises(ValueError, match=message):
        empirical_ntk(net[0], net[1], rates=rates)


def test_nothing_to_train(net):
    with pytest.raises(ValueError, match="no parameter is trained"):
        empirical_ntk(net[0], net[1], rates=dict.fromkeys(net[1], 0.0))


def test_integer_outputs_are_refused(net):
    with pytest.raises(TypeError, match="must return real numbers"):
        empirical_ntk(lambda params, x: jnp.argmax(net[0](params, x)), net[1])(net[2])


def test_complex_parameters_are_refused():
    with pytest.raises(TypeError, match="'w' is complex"):
        empirical_ntk(lambda params, x: jnp.real(params["w"] * x), {"w": jnp.ones(3, complex)})


def test_wrong_vector_for_the_operator(net):
    with pytest.raises(ValueError, match=r"needs v of shape \(7, 3\)"):
        empirical_ntk(net[0], net[1]).operator(net[2]) @ jnp.ones(20)


def test_trace_of_unequal_outputs():
    ntk = empirical_ntk(lambda params, x: params["w"] * x, {"w": jnp.ones(())})
    assert ntk(jnp.ones((2, 3)), jnp.ones((4, 5))).shape == (2, 4, 3, 5)
    with pytest.raises(ValueError, match="equally many outputs"):
        ntk.trace(jnp.ones((2, 3)), jnp.ones((4, 5)))
