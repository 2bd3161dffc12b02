"""Programs cut into pieces: what the pieces compute together, what is kept apart, what is the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from widelimit import trace
from widelimit.limit._stages import boundary, staged

N1, N2 = 3, 4


def layer(k, w):
    return boundary(jnp.tanh(w * k) + jnp.sin(k))


def pair(x, y):
    """Three equal layers of a product, beside what depends on one input alone, on none, and a constant."""
    k, size = jnp.dot(x, y), jnp.exp(jnp.dot(x, x))
    for w in jnp.asarray([0.5, 0.5, 0.5]):
        k = layer(k, jax.jit(jnp.cos)(w))
    return k, size, jnp.cos(y), 2.0 * k + size, jnp.ones(2)


@pytest.fixture(scope="module")
def program():
    return jax.make_jaxpr(pair)(*[jax.ShapeDtypeStruct((5,), jnp.float64)] * 2)


@pytest.fixture(scope="module")
def kernel(program):
    return staged(program, (N1, N2))


@pytest.fixture(scope="module")
def examples():
    random = np.random.default_rng(0)
    return jnp.asarray(random.normal(size=(N1, 5))), jnp.asarray(random.normal(size=(N2, 5)))


def assert_all_pairs(found, examples):
    expected = jax.vmap(jax.vmap(pair, (None, 0)), (0, None))(*examples)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_the_stages_compute_the_program(kernel, examples):
    assert_all_pairs(kernel([examples[0]], [examples[1]]), examples)


def test_what_one_side_makes_may_be_computed_before(kernel, examples):
    left, right = kernel.alone([examples[0]], trace.LEFT), kernel.alone([examples[1]], trace.RIGHT)
    for _ in range(2):  # and used again
        assert_all_pairs(kernel(left, right), examples)


def test_the_bytes_kept_are_those_counted(kernel, examples):
    kept = kernel.alone([examples[0]], trace.LEFT)
    assert sum(a.nbytes for a in kept.values()) == kernel.alone_bytes(trace.LEFT) * N1


def pieces(fn, counts, count=2):
    program = jax.make_jaxpr(fn)(*[jax.ShapeDtypeStruct((), jnp.float64)] * count)
    sides = [trace.LEFT, trace.RIGHT][:count]
    return trace.cut(program, sides, counts, at="optimization_barrier").pieces


def test_what_depends_on_one_input_is_a_piece_of_its_own():
    sides = {s for p in pieces(lambda x, y: jnp.exp(x) * jnp.exp(y) * jnp.sin(2.0), (100, 100)) for s in p.sides[1]}
    assert sides == {0, trace.LEFT, trace.RIGHT, trace.BOTH}  # sin 2 depends on none


def test_what_both_sides_do_alone_is_compiled_once():
    program = jax.make_jaxpr(lambda x, y: jnp.exp(x) * jnp.exp(y))(*[jax.ShapeDtypeStruct((), jnp.float64)] * 2)
    runs = {stage.side: stage.run for stage in staged(program, (9, 9)).stages}
    assert runs[trace.LEFT] is runs[trace.RIGHT] is not runs[trace.BOTH]


def chain(depth):
    def fn(x, y):
        k = x * y
        for _ in range(depth):
            k = boundary(jnp.tanh(k) * 0.5 + k)
        return k

    return fn


def test_equal_layers_have_equal_keys_and_other_constants_other_keys():
    found = pieces(chain(6), (100, 100))
    assert len(found) == 6
    assert len({p.key for p in found[1:]}) == 1  # the first one makes the product too
    other = pieces(lambda x, y: boundary(jnp.tanh(chain(1)(x, y)) * 0.25 + chain(1)(x, y)), (100, 100))
    assert other[-1].key not in {p.key for p in found}


def test_small_arrays_share_a_piece():
    assert len(pieces(chain(8), (2, 2))) < 4


def test_an_operation_that_stands_twice_is_done_once():
    (piece,) = pieces(lambda x, y: jnp.tanh(x * y) + jax.jit(jnp.tanh)(x * y), (100, 100))
    text = str(jax.make_jaxpr(piece.run)(*piece.structs))
    assert text.count("tanh") == 1


def test_what_nothing_needs_is_left_out():
    def fn(x, y):
        lax.sin(x)
        return x * y

    (piece,) = pieces(fn, (100, 100))
    assert piece.sides[1] == (trace.BOTH,)


def test_inner_programs_are_compared_by_what_they_do():
    def loop(factor):
        return jax.make_jaxpr(lambda x: lax.fori_loop(0, 3, lambda i, c: factor * c, x))(1.0)

    def key(factor):
        return trace.program_key(trace.opened(loop(factor)))

    assert key(2.0) == key(2.0)
    assert key(2.0) != key(3.0)


def test_many_results_of_an_operation_do_not_hide_a_difference():
    def fn(swap):
        def run(x, y):
            a, b = lax.top_k(jnp.stack([x, y]), 2)[0], jnp.stack([y, x])
            k, n = lax.sort((a, b), num_keys=1)
            return n - k if swap else k - n

        return run

    keys = [[p.key for p in pieces(fn(swap), (2, 2))] for swap in (False, True, False)]
    assert keys[0] == keys[2] != keys[1]


def lopsided(x, y):
    """Of y something is needed that is not of x, of x something that a pair reads before y's twin of it."""
    k = jnp.sin(x) * jnp.exp(jnp.tanh(y))
    return boundary(k) * jnp.tanh(x) + jnp.sin(y), jnp.cos(y)


def test_what_one_side_made_serves_the_other():
    program = jax.make_jaxpr(lopsided)(*[jax.ShapeDtypeStruct((), jnp.float64)] * 2)
    kernel, x = staged(program, (N1, N1)), jnp.linspace(-1, 1, N1)
    left = kernel.alone([x], trace.LEFT)
    assert kernel.is_mirrored
    for a, b in zip(kernel(left, kernel.mirrored(left)), kernel([x], [x]), strict=True):
        np.testing.assert_array_equal(a, b)
    right = kernel.alone([x], trace.RIGHT)
    assert right.keys() == kernel.mirrored(left).keys()
    for i, value in kernel.mirrored(left).items():
        np.testing.assert_array_equal(value, right[i])


def test_inputs_of_different_shapes_do_not_serve_each_other():
    structs = [jax.ShapeDtypeStruct((n,), jnp.float64) for n in (2, 3)]
    program = jax.make_jaxpr(lambda x, y: jnp.sum(x) * jnp.sum(y))(*structs)
    assert not staged(program, (N1, N1)).is_mirrored


def test_only_what_pairs_read_is_kept():
    """Not what one stage of a side makes for another."""
    program = jax.make_jaxpr(lambda x, y: jnp.sum(boundary(jnp.exp(x)) ** 2) * jnp.sum(y))(
        *[jax.ShapeDtypeStruct((2**14,), jnp.float64)] * 2
    )
    kernel = staged(program, (1, 1))
    assert len({stage for stage in kernel.stages if stage.side == trace.LEFT}) > 1
    assert kernel.alone_bytes(trace.LEFT) < 100
