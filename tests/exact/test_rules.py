"""Rules: matching, the sign condition, padding; and machines made of them."""

from dataclasses import replace

import numpy as np
import pytest

from widelimit import exact

COUNTER = {"0?": "10", "10": "01", "11": "00"}  # two bits that count up, the lowest first
CROWDED = exact.Rules.of([("1???", "1"), ("?1??", "0"), ("??1?", "0"), ("???1", "0")] + [("0000", "1")] * 40)


def numbers(*counts):
    return [each.ravel() for each in np.meshgrid(*map(np.arange, counts), indexing="ij")]


def states(bits):
    return np.stack(numbers(*[2] * bits), -1).astype(bool)


def test_templates_match_what_they_say():
    rules = exact.Rules.of({"1?0": "100", "?1?": "011"})
    expected = [[s[0] and not s[2], s[1]] for s in states(3)]
    matched = [row for row in expected if any(row)]
    np.testing.assert_array_equal(rules.match(states(3)[[any(row) for row in expected]]), matched)


def test_a_state_without_a_template():
    with pytest.raises(ValueError, match="no template matches the state 000"):
        exact.Rules.of({"1?0": "100", "?1?": "011"}).match(states(3))


def test_rules_run_by_the_limit():
    rules = exact.Rules.of([*COUNTER.items(), ("?1", "01")])
    assert rules.check(states(2)).holds
    np.testing.assert_array_equal(rules.run(states(2), 3), truth(rules, 3))


def truth(rules, steps):
    now = states(2)
    for _ in range(steps):
        now = rules.true_step(now)
    return now


def test_true_step_is_the_or_of_what_matches():
    rules = exact.Rules.of({"1?": "01", "?1": "11", "0?": "00"})
    np.testing.assert_array_equal(rules.true_step(states(2)), [[0, 0], [1, 1], [0, 1], [1, 1]])


def test_bits_that_no_rule_sets_are_zero():
    rules = exact.Rules.of({"1?": "00", "0?": "10"})
    assert rules.outputs == 1
    assert not rules.step(states(2))[:, 1].any()


@pytest.mark.parametrize("regime", ["ntk", "last"])
def test_the_condition_says_whether_signs_are_right(regime):
    for rules in (CROWDED, CROWDED.padded(np.ones((1, 4), bool), regime=regime)):
        matches = rules.match(np.ones((1, 4), bool))
        right = (rules.round(rules.mean(matches, regime=regime), matches) == rules.truth(matches)).all()
        assert rules.check(np.ones((1, 4), bool), regime=regime).holds == right
        assert right == (rules.padding > 0)


def test_the_condition_names_what_breaks_it():
    found = CROWDED.check(np.ones((1, 4), bool))
    assert (found.bit, found.matching, found.setting, len(found.templates)) == (0, 4, 1, 41)
    assert "fails at the states given" in str(found)


def test_the_midpoint_needs_no_condition():
    matches = CROWDED.match(np.ones((1, 4), bool))
    assert CROWDED.round(CROWDED.mean(matches), matches, "midpoint").all()


def test_interference_is_what_is_taken_from_the_mean():
    """μ = a β (1 − interference), a = 1 here; β is the gap between the means of labels 1 and 0, whatever n_j."""
    one = np.ones((1, 4), bool)
    gap = exact.Permutation(44, range(44)).mean(np.arange(44) < 4)[[0, -1]]
    beta = gap[0] - gap[1]
    mean = CROWDED.mean(CROWDED.match(one))[0, 0]
    assert mean == pytest.approx(beta * (1 - CROWDED.check(one).interference), rel=1e-12)


@pytest.mark.parametrize("interference", [0.5, 0.9])
def test_padding_is_the_least_that_suffices(interference):
    padded = CROWDED.padded(interference=interference)
    assert padded.check().interference <= interference
    assert replace(padded, padding=padded.padding - 1).check().interference > interference


def test_what_holds_for_any_state_holds_for_every_state():
    for machine in (exact.adder(2), exact.sorter(2, 2), exact.multiplier(1)):
        rules = replace(machine.rules, one_hot=()).padded()
        every = states(machine.fields.bits)
        seen = every[rules._matching(every).any(-1)]
        assert rules.check(seen).interference <= rules.check().interference < 1


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_addition_of_all_numbers(bits):
    a, b = numbers(2**bits, 2**bits)
    np.testing.assert_array_equal(exact.adder(bits)(a, b), a + b)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_multiplication_of_all_numbers(bits):
    x, y = numbers(2**bits, 2**bits)
    np.testing.assert_array_equal(exact.multiplier(bits)(x, y), x * y)


@pytest.mark.parametrize(("items", "bits"), [(2, 1), (3, 2), (4, 1), (2, 4)])
def test_sorting_of_all_lists(items, bits):
    lists = np.stack(numbers(*[2**bits] * items), -1)
    np.testing.assert_array_equal(exact.sorter(items, bits)(lists), np.sort(lists, -1))


@pytest.mark.parametrize("regime", ["ntk", "last"])
def test_a_computer_of_one_instruction_runs_all_programs(regime):
    machine = exact.subtract_and_branch(2, 2, 2, cycles=3)
    programs = np.stack(numbers(2, 2, 3, 2, 2, 3), -1).reshape(-1, 1, 2, 3)
    memory = np.stack(numbers(4, 4), -1)
    given = (programs[::5], memory)
    np.testing.assert_array_equal(machine(*given, regime=regime), machine.reference(*given))


def test_long_numbers_are_added_and_keep_the_condition():
    machine = exact.adder(30)
    a, b = np.random.default_rng(0).integers(0, 2**30, (2, 20))
    np.testing.assert_array_equal(machine(a, b), a + b)
    assert machine.rules.check().interference < 0.5
    assert machine.rules.padding == 0


def test_a_real_ensemble_adds():
    import jax

    machine, (a, b) = exact.adder(1), numbers(2, 2)
    matches = machine.rules.match(machine.states(a, b))
    size = exact.size_at(machine.rules, matches, 0.001, threshold="midpoint")
    ensemble = exact.Ensemble(machine.rules, size, 512, parametrisation="ntk", key=jax.random.key(0))
    trained = ensemble.train()
    found = machine(a, b, predict=lambda seen: trained(seen).mean, threshold="midpoint")
    np.testing.assert_array_equal(found, a + b)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([("10", "1"), ("1", "0")], "texts of one length"),
        ([("12", "1")], "of 1, 0, [?] only"),
        ([("1?", "?")], "of 1, 0 only"),
        ([("1?", "0")], "no rule sets any bit"),
    ],
)
def test_bad_rules(rules, words):
    with pytest.raises(ValueError, match=words):
        exact.Rules.of(rules)


def test_rules_of_other_sizes_do_not_iterate():
    with pytest.raises(ValueError, match="iterated, they need the same"):
        exact.Rules.of({"1?": "1", "0?": "0"}).run(states(2), 2)


@pytest.mark.parametrize("make", [lambda: exact.adder(0), lambda: exact.sorter(1, 2), lambda: exact.multiplier(-1)])
def test_sizes_of_machines(make):
    with pytest.raises(ValueError, match="at least"):
        make()


def test_numbers_must_fit():
    with pytest.raises(ValueError, match="between 0 and 3, got 4"):
        exact.adder(2)(np.array([4]), np.array([0]))
