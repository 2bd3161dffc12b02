"""The bar that `progress=True` asks for."""

from collections.abc import Iterable
from typing import Any


def bar(items: Iterable | None = None, **look: Any) -> Any:
    """A tqdm over the items, or one of a `total` that is moved by hand; closed where the iteration is left."""
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("`progress=True` needs tqdm: `pip install 'widelimit[progress]'`, or leave it out") from error
    return tqdm(items, **look)
