"""Rules for several Gaussians are measured, and chosen anew, at laws that are larger than those they were chosen for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gaussian.pairs import expect_several
from widelimit.gaussian._met import renew
from widelimit.gaussian._missed import forget, measures, missed
from widelimit.gaussian._pointwise import Joint, Pointwise
from widelimit.gaussian._several import describe_several

ROUGH = 3e-2
LAW = np.array([[1.0, 0.2, 0.5, 0.1], [0.2, 1.2, -0.1, 0.3], [0.5, -0.1, 0.8, 0.0], [0.1, 0.3, 0.0, 0.9]])


def gate(label="gate"):
    return Pointwise(lambda a, b, s=1.0: jax.nn.sigmoid(a) * jnp.sin(s * b), 2, label)


def joint(c):
    left, right, cross = (
        tuple(tuple(c[i, j] for j in columns) for i in rows)
        for rows, columns in (((0, 1), (0, 1)), ((2, 3), (2, 3)), ((0, 1), (2, 3)))
    )
    return Joint(left, right, cross, (None, None), (None, None))


def expected(phi, c, accuracy=ROUGH, params=()):
    return expect_several(phi, phi, joint(jnp.asarray(c)), params, params, accuracy=accuracy)


def test_the_error_at_a_large_variance_is_that_of_the_rule_until_another_is_chosen():
    phi, c = gate(), 16 * LAW
    finer = expected(gate(), c, accuracy=1e-3)
    size = np.sqrt(expected(gate(), np.tile(c[:2, :2], (2, 2))) * expected(gate(), np.tile(c[2:, 2:], (2, 2))))
    deviation = abs(expected(phi, c) - finer) / size
    assert 2 * ROUGH < deviation < missed(phi) < 3 * deviation
    assert renew(phi) == 1
    assert abs(expected(phi, c) - finer) / size < ROUGH
    assert missed(phi) == 0
    assert renew(phi) == 1


def test_a_renewed_rule_states_its_error_at_the_laws_that_all_are_chosen_for():
    phi = gate()
    expected(phi, 16 * LAW)
    jax.effects_barrier()
    assert renew(phi) == 1
    assert 0 < describe_several(phi, phi, ROUGH)[1] < ROUGH


def test_laws_that_were_forgotten_are_not_told():
    phi = gate()
    expected(phi, 16 * LAW)
    forget(phi)
    assert missed(phi) == 0


def test_nothing_is_said_within_the_laws_it_was_chosen_for():
    phi = gate()
    expected(phi, LAW)
    assert missed(phi) == 0
    assert not measures(phi)


def test_a_parameter_is_that_of_the_inputs():
    tame, wild = gate(), gate()
    expected(tame, 2.5 * LAW, params=(jnp.asarray(0.1),))
    assert measures(tame)
    assert missed(tame) == 0
    expected(wild, 2.5 * LAW, params=(jnp.asarray(3.0),))
    assert missed(wild) > ROUGH


def test_a_batch_is_noted_by_its_largest_law():
    phi, scales = gate(), jnp.asarray([1.0, 9.0, 3.0, 0.5])
    jax.jit(jax.vmap(lambda s: expected(phi, s * jnp.asarray(LAW))))(scales)
    missed(phi)
    (met,) = measures(phi).values()
    np.testing.assert_allclose(met.trial.covariance, 9 * LAW, rtol=1e-12)


def test_means_count_as_variances_do():
    """A wave about 3 has the size of its arguments' second moment there, 9 and more; about 1 of less than 2."""
    far, near = gate(), gate()
    for phi, mean in ((far, 3.0), (near, 0.5)):
        law = joint(jnp.asarray(LAW))
        means = (jnp.asarray(mean),) * 2
        expect_several(phi, phi, dataclasses.replace(law, left_mean=means, right_mean=means), (), (), accuracy=ROUGH)
    missed(far), missed(near)
    (met,) = measures(far).values()
    np.testing.assert_array_equal(met.trial.mean, 3.0)
    assert not measures(near)
