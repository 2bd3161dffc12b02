"""Sorting by compare-exchange."""

from itertools import product

import numpy as np

from ._fields import Book, Fields, size
from ._machine import Machine
from ._rules import Rules


def sorter(items: int, bits: int) -> Machine:
    """Sorts so many numbers of so many bits, smallest first: `sorter(3, 2)(numbers)`, numbers (…, items).

    Odd-even transposition: in phase φ the neighbours (i, i + 1) with i ≡ φ (mod 2) are compared and exchanged, all at once;
    after `items` phases everything is sorted. A phase takes `bits` steps, a pointer running from the most significant bit down:
    at the first bit where two neighbours differ they decide to swap or to keep, and do so from there on. The rules grow as
    items · bits.
    """
    n, b = size("`sorter(items, bits)`", items=items, bits=bits)
    if n < 2:
        raise ValueError(f"`sorter({items}, {bits})`: `items` must be at least 2, got {items}")
    fields = Fields(item=(n, b), pointer=b, phase=1, swap=n - 1, keep=n - 1)
    book = Book(fields)
    _clock(book, fields)
    for i, q in product(range(n - 1), range(b)):
        _exchange(book, fields, i, q)
    for i in range(n - 1):
        for flag in (fields.swap[i], fields.keep[i]):
            if b > 1:
                book.add({flag: 1, fields.pointer[0]: 0}, [flag])
    for i, q in product(range(n), range(b)):
        _stay(book, fields, i, q)
    return Machine(
        f"sorting of {n} numbers of {b} bits",
        Rules(*book.arrays(), one_hot=_exclusive(fields)).padded(),
        fields,
        n * b,
        load=lambda numbers: fields.write(item=np.asarray(numbers), pointer=1 << (b - 1)),
        read=lambda states: fields.read(states, "item"),
        reference=np.sort,
    )


def _clock(book: Book, fields: Fields) -> None:
    """The pointer runs down, and round; as it comes round the phase changes."""
    (phase,) = fields.phase
    for q, bit in enumerate(fields.pointer):
        book.add({bit: 1}, [fields.pointer[q - 1]])
    book.add({fields.pointer[0]: 1, phase: 0}, [phase])
    if len(fields.pointer) > 1:
        book.add({fields.pointer[0]: 0, phase: 1}, [phase])


def _exchange(book: Book, fields: Fields, i: int, q: int) -> None:
    """Bit q of neighbours i, i + 1 while the pointer is there, in the phase of the pair."""
    low, high, swap, keep = fields.item[i, q], fields.item[i + 1, q], fields.swap[i], fields.keep[i]
    now = {fields.pointer[q]: 1, fields.phase[0]: i % 2}
    open_ = now | {swap: 0, keep: 0}
    last = q == 0  # nothing is left to be decided
    book.add(open_ | {low: 1, high: 0}, [high] if last else [high, swap])
    book.add(open_ | {low: 0, high: 1}, [high] if last else [high, keep])
    book.add(open_ | {low: 1, high: 1}, [low, high])
    if q < len(fields.pointer) - 1:  # at the first bit nothing is decided yet
        for flag, here, there in ((keep, low, high), (swap, high, low)):
            book.add(now | {flag: 1, low: 1}, [here])
            book.add(now | {flag: 1, high: 1}, [there])


def _stay(book: Book, fields: Fields, i: int, q: int) -> None:
    """Bit q of item i where nothing happens to it: the pointer is elsewhere, or the item has no partner in this phase."""
    n = len(fields.item)
    bit, pointer = fields.item[i, q], fields.pointer[q]
    if len(fields.pointer) > 1:
        book.add({bit: 1, pointer: 0}, [bit])
    for phase in (0, 1):
        partner = i + 1 if i % 2 == phase else i - 1
        if not 0 <= partner < n:
            book.add({bit: 1, pointer: 1, fields.phase[0]: phase}, [bit])


def _exclusive(fields: Fields) -> list[list[int]]:
    return [fields.pointer.tolist(), *np.stack([fields.swap, fields.keep], -1).tolist()]
