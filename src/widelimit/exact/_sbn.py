"""A machine of one instruction: subtract, and branch if the result is negative."""

from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from ._fields import Book, Fields, size
from ._machine import Machine
from ._rules import Rules


def subtract_and_branch(instructions: int, words: int, bits: int, *, cycles: int) -> Machine:
    """SBN: a computer whose program is in its state: `machine(program, memory)` is the memory after `cycles` instructions.

    A program is (…, instructions, 3) of (a, b, target): memory[b] ← memory[b] − memory[a], in two's complement of `bits` bits; then go
    to `target` if that is negative, else to the next instruction. The address `instructions` is the halt. The rules know
    no program: they fetch the instruction, load its operands, subtract bit by bit, store and branch, `bits` + 3 steps
    an instruction. This one instruction suffices for every computation that the memory has room for.
    """
    p, m, w = size("`subtract_and_branch(...)`", instructions=instructions, words=words, bits=bits)
    size("`subtract_and_branch(...)`", cycles=cycles)
    fields = Fields(
        a=(p, m), b=(p, m), target=(p, p + 1), memory=(m, w), counter=p + 1, clock=w + 3,
        from_=m, to=m, jump=p + 1, left=w, right=w, borrow=1,
    )  # fmt: skip
    book = Book(fields)
    for write in (_clock, _program, _fetch, _load, _subtract, _store, _branch):
        write(book, fields)
    return Machine(
        f"SBN machine ({p} instructions, {m} words of {w} bits)",
        Rules(*book.arrays(), one_hot=_exclusive(fields)).padded(),
        fields,
        cycles * (w + 3),
        load=lambda program, memory: _load_state(fields, program, memory),
        read=lambda states: fields.read(states, "memory"),
        reference=lambda program, memory: _interpret(program, memory, w, cycles),
    )


def _clock(book: Book, fields: Fields) -> None:
    """One bit goes round: fetch, load, one step for each bit of the difference, store."""
    for now, then in zip(fields.clock, np.roll(fields.clock, -1), strict=True):
        book.add({now: 1}, [then])


def _program(book: Book, fields: Fields) -> None:
    for bit in np.concatenate([each.ravel() for each in (fields.a, fields.b, fields.target)]):
        book.add({bit: 1}, [bit])


def _fetch(book: Book, fields: Fields) -> None:
    """The instruction that the counter points at; two of its parts are kept until it is done."""
    fetch, store = fields.clock[0], fields.clock[-1]
    for part, register in ((fields.a, fields.from_), (fields.b, fields.to), (fields.target, fields.jump)):
        for (line, place), bit in np.ndenumerate(part):
            book.add({fetch: 1, fields.counter[line]: 1, bit: 1}, [register[place]])
    for bit in (*fields.to, *fields.jump):
        book.add({store: 0, bit: 1}, [bit])


def _load(book: Book, fields: Fields) -> None:
    """Both operands; `left` is kept until the end, `right` except where it is being changed."""
    load, store = fields.clock[1], fields.clock[-1]
    for (word, q), bit in np.ndenumerate(fields.memory):
        book.add({load: 1, fields.from_[word]: 1, bit: 1}, [fields.left[q]])
        book.add({load: 1, fields.to[word]: 1, bit: 1}, [fields.right[q]])
    for q, (left, right) in enumerate(zip(fields.left, fields.right, strict=True)):
        book.add({store: 0, left: 1}, [left])
        book.add({store: 0, fields.clock[2 + q]: 0, right: 1}, [right])


def _subtract(book: Book, fields: Fields) -> None:
    """right ← right − left, one bit a step."""
    (borrow,) = fields.borrow
    for q, (left, right) in enumerate(zip(fields.left, fields.right, strict=True)):
        for r, v, u in product((0, 1), repeat=3):
            when = {fields.clock[2 + q]: 1, right: r, left: v, borrow: u}
            book.add(when, [right] * ((r - v - u) % 2) + [borrow] * (r - v - u < 0))


def _store(book: Book, fields: Fields) -> None:
    """The difference to where it belongs; all else stays."""
    store = fields.clock[-1]
    for (word, q), bit in np.ndenumerate(fields.memory):
        book.add({store: 1, fields.to[word]: 1, fields.right[q]: 1}, [bit])
        book.add({store: 1, fields.to[word]: 0, bit: 1}, [bit])
        book.add({store: 0, bit: 1}, [bit])


def _branch(book: Book, fields: Fields) -> None:
    """By the sign, the highest bit of the difference. The halt points at itself."""
    store, sign, halt = fields.clock[-1], fields.right[-1], fields.counter[-1]
    for line, here in enumerate(fields.counter):
        book.add({store: 1, sign: 1, fields.jump[line]: 1}, [here])
        book.add({store: 0, here: 1}, [here])
        then = fields.counter[line + 1] if here != halt else halt
        book.add({store: 1, sign: 0, here: 1}, [then])


def _exclusive(fields: Fields) -> list[list[int]]:
    rows = (each for part in (fields.a, fields.b, fields.target) for each in part)
    registers = (fields.counter, fields.clock, fields.from_, fields.to, fields.jump)
    return [each.tolist() for each in (*rows, *registers)]


def _load_state(fields: Fields, program: Any, memory: Any) -> ndarray:
    program, memory = np.asarray(program), np.asarray(memory)
    p, m = fields.a.shape
    if program.shape[-2:] != (p, 3) or memory.shape[-1:] != (m,):
        raise ValueError(
            f"`machine(program, memory)`: this machine has {p} instructions of (a, b, target) and {m} words, got shapes {program.shape} "
            f"and {memory.shape}"
        )
    if (program < 0).any() or (program >= [m, m, p + 1]).any():
        raise ValueError(
            f"`machine(program, memory)`: a and b are below {m}, targets at most {p} (the halt), got {program.tolist()}"
        )
    a, b, target = np.moveaxis(1 << program, -1, 0)
    return fields.write(a=a, b=b, target=target, memory=memory, counter=1, clock=1)


def _interpret(program: Any, memory: Any, bits: int, cycles: int) -> Int[ndarray, "*n words"]:
    program, memory = np.asarray(program), np.array(memory)
    lead = np.broadcast_shapes(program.shape[:-2], memory.shape[:-1])
    programs = np.broadcast_to(program, (*lead, *program.shape[-2:])).reshape(-1, *program.shape[-2:])
    memories = np.broadcast_to(memory, (*lead, memory.shape[-1])).reshape(-1, memory.shape[-1])
    results = [
        _execute(lines.tolist(), words.tolist(), bits, cycles) for lines, words in zip(programs, memories, strict=True)
    ]
    return np.array(results).reshape(*lead, -1)


def _execute(program: list, memory: list[int], bits: int, cycles: int) -> list[int]:
    counter = 0
    for _ in range(cycles):
        if counter == len(program):
            break
        a, b, target = program[counter]
        memory[b] = (memory[b] - memory[a]) % 2**bits
        counter = target if memory[b] >> (bits - 1) else counter + 1
    return memory
