"""Algorithms as rules: the sign condition, every input by the limit's mean, and a real ensemble at the smallest size."""

from dataclasses import replace

import jax
import numpy as np

from widelimit import exact

FAILURE = 0.01


def numbers(*counts: int) -> list[np.ndarray]:
    """All combinations of numbers below `counts`."""
    return [each.ravel() for each in np.meshgrid(*map(np.arange, counts), indexing="ij")]


def machines() -> list[tuple[exact.Machine, list]]:
    """Each with all the inputs that it has."""
    cases = [(exact.adder(m), numbers(2**m, 2**m)) for m in (1, 2, 4, 6)]
    cases += [(exact.multiplier(m), numbers(2**m, 2**m)) for m in (1, 2, 4, 5)]
    for items, bits in ((2, 1), (3, 2), (5, 2), (3, 4)):
        cases.append((exact.sorter(items, bits), [np.stack(numbers(*[2**bits] * items), -1)]))
    return [*cases, small_computer(), multiplying_computer()]


def small_computer() -> tuple[exact.Machine, list]:
    """Every program of two instructions on every memory of two words of two bits: 144 programs, 16 memories."""
    programs = np.stack(numbers(2, 2, 3, 2, 2, 3), -1).reshape(-1, 1, 2, 3)
    return exact.subtract_and_branch(2, 2, 2, cycles=3), [programs, np.stack(numbers(4, 4), -1)]


def multiplying_computer() -> tuple[exact.Machine, list]:
    """The same machine with a program for x · y modulo 16, on all x, y < 8: it adds x to the result until y falls below 0."""
    x, y, one, result, minus_x, zero = range(6)
    program = np.array(
        [
            (x, minus_x, 1),
            (one, y, 4),  # y ← y − 1; below 0 the program halts
            (minus_x, result, 3),
            (zero, minus_x, 1),  # negative, so it jumps back; if not, x = 0 and the result is ready
        ]
    )
    memory = np.zeros((64, 6), int)
    memory[:, x], memory[:, y] = numbers(8, 8)
    memory[:, one] = 1
    return exact.subtract_and_branch(4, 6, 4, cycles=25), [program, memory]


def table() -> None:
    print(
        f"\nAlgorithms: all inputs by the limit's mean; interference below 1 is the sign condition; N for δ = {FAILURE} over all states"
    )
    print(
        f"{'':<48}{'k':>5}{'inputs':>8}{'exact':>8}{'states':>8}{'interference':>14}{'any state':>11}{'N zero':>8}{'midpoint':>9}"
    )
    for machine, given in machines():
        outcome, truth = machine(*given), machine.reference(*given)
        right = np.equal(outcome, truth)
        right = right if right.ndim == 1 else right.all(-1).ravel()  # sorted lists and memories count as one result
        states = machine.states(*given).reshape(-1, machine.fields.bits)
        here, always = machine.rules.check(states), machine.rules.check()
        matches = machine.rules.match(states)
        counts = [exact.size_at(machine.rules, matches, FAILURE, threshold=kind) for kind in ("zero", "midpoint")]
        print(
            f"{machine.name:<48}{machine.rules.k:>5}{right.size:>8}{right.mean():>8.1%}{len(states):>8}{here.interference:>14.3f}"
            f"{always.interference:>11.3f}{counts[0]:>8}{counts[1]:>9}"
        )
        assert right.all()
        assert here.holds


def one_program() -> tuple[exact.Machine, list]:
    """memory[1] ← memory[1] − memory[0] while that is negative, then memory[0] ← memory[0] − memory[1]; padded for its own states."""
    machine, (_, memory) = small_computer()
    given = [np.array([(0, 1, 0), (1, 0, 2)]), memory]
    return replace(
        machine, rules=machine.rules.padded(machine.states(*given)), name="SBN machine with one program"
    ), given


def real(seed: int) -> None:
    """The smallest of each, executed by ensembles of real networks of the size that the limit asks for."""
    print("\nThe smallest machines executed by real ensembles, rounded after every step")
    cases = [
        (exact.adder(1), numbers(2, 2), 1024),
        (exact.multiplier(1), numbers(2, 2), 1024),
        (exact.sorter(2, 1), [np.stack(numbers(2, 2), -1)], 1024),
        (*one_program(), 512),
    ]
    for number, (machine, given, width) in enumerate(cases):
        rules, key = machine.rules, jax.random.fold_in(jax.random.key(seed), number)
        matches = rules.match(machine.states(*given))
        for kind in ("zero", "midpoint"):
            size = exact.size_at(rules, matches, FAILURE, threshold=kind)
            trained = exact.Ensemble(rules, size, width, parametrisation="ntk", key=key).train(progress=True)
            outcome = machine(*given, predict=lambda matches, trained=trained: trained(matches).mean, threshold=kind)
            right = np.equal(outcome, machine.reference(*given))
            print(
                f"  {machine.name}, threshold {kind}: {size} networks (n = {width}), exact at {right.mean():.1%} of {right.size} results"
            )
