"""Addition and multiplication of binary numbers of any length."""

from itertools import product
from typing import Any

import numpy as np

from ._fields import Book, Fields, size
from ._machine import Machine
from ._rules import Rules


def adder(bits: int) -> Machine:
    """a + b of two numbers of so many bits, in `bits` + 1 steps: `adder(4)(a, b)`.

    A step is a row of half adders: (a, b) ← (a xor b, 2 (a and b)). 4 (bits + 1) rules, one of four matches at each position;
    the sign condition holds for any number of bits, with an interference below 1/2.
    """
    (m,) = size("`adder(bits)`", bits=bits)
    fields = Fields(a=m + 1, b=m + 1)
    book = Book(fields)
    for i in range(m + 1):
        for a, b in product((0, 1), repeat=2):
            carry = [fields.b[i + 1]] if a and b and i < m else []
            book.add({fields.a[i]: a, fields.b[i]: b}, [fields.a[i]] * (a ^ b) + carry)
    return Machine(
        f"addition of {m}-bit numbers",
        Rules(*book.arrays()).padded(),
        fields,
        m + 1,
        load=lambda a, b: fields.write(a=_below(a, m), b=_below(b, m)),
        read=lambda states: fields.read(states, "a"),
        reference=np.add,
    )


def multiplier(bits: int) -> Machine:
    """x · y of two numbers of so many bits, in 3 · `bits` steps: `multiplier(4)(x, y)`.

    The product grows in carry-save form: at each of its 2 · `bits` positions a full adder sums p, c and y · x₀, all at once,
    while x moves down and y up; when x is used up, the carries c run out. 16 rules a position, one of which matches, and one
    for each bit of x.
    """
    (m,) = size("`multiplier(bits)`", bits=bits)
    fields = Fields(p=2 * m, c=2 * m, y=2 * m, x=m)
    book = Book(fields)
    for i in range(2 * m):
        for p, c, y, x in product((0, 1), repeat=4):
            when = {fields.p[i]: p, fields.c[i]: c, fields.y[i]: y, fields.x[0]: x}
            book.add(when, _full_adder(fields, i, p + c + y * x, y))
    for j in range(1, m):
        book.add({fields.x[j]: 1}, [fields.x[j - 1]])
    return Machine(
        f"multiplication of {m}-bit numbers",
        Rules(*book.arrays()).padded(),
        fields,
        3 * m,
        load=lambda x, y: fields.write(x=_below(x, m), y=_below(y, m)),
        read=lambda states: fields.read(states, "p"),
        reference=np.multiply,
    )


def _full_adder(fields: Fields, i: int, total: int, y: int) -> list[Any]:
    """The sum's bit stays, its carry and the shifted y move one up; what leaves at the top is 0 in every product."""
    above = i + 1 < len(fields.p)
    here = [fields.p[i]] * (total % 2)
    return here + ([fields.c[i + 1]] * (total // 2) + [fields.y[i + 1]] * y if above else [])


def _below(number: Any, bits: int) -> Any:
    number = np.asarray(number)
    if (number >= 1 << bits).any():
        raise ValueError(f"numbers of {bits} bits lie between 0 and {2**bits - 1}, got {number.max()}")
    return number
