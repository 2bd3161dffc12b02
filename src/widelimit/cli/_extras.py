"""Which optional packages a command needs."""

from collections.abc import Sequence
from importlib.util import find_spec


def require(packages: Sequence[str], *, command: str, extra: str) -> None:
    """Raise ImportError that names all missing packages and the extra that installs them."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        listed = ", ".join(missing)
        raise ImportError(f'`{command}` needs {listed}, not installed here: `pip install "widelimit[{extra}]"`')
