"""A bar that counts networks as they are trained."""

from collections.abc import Iterable, Iterator
from typing import Any


def counted(chunks: Iterable[Any], *, total: int, progress: bool) -> Iterator[Any]:
    """Hand `chunks` on, each of which has `members`; with `progress`, move a bar of `total` of them."""
    if not progress:
        yield from chunks
        return
    with _tqdm()(total=total, unit="net", desc="networks trained") as bar:
        for chunk in chunks:
            bar.update(chunk.members)
            yield chunk


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError('`progress=True` needs tqdm: `pip install "widelimit[progress]"`, or leave it out') from error
    return tqdm
