"""A bar that counts networks as they are trained."""

from collections.abc import Iterable, Iterator
from typing import Any

from widelimit._progress import bar


def counted(chunks: Iterable[Any], *, total: int, progress: bool) -> Iterator[Any]:
    """Hand `chunks` on, each of which has `members`; with `progress`, move a bar of `total` of them."""
    if not progress:
        yield from chunks
        return
    with bar(total=total, unit="net", desc="networks trained") as shown:
        for chunk in chunks:
            shown.update(chunk.members)
            yield chunk
