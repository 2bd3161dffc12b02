"""How many threads a factorisation takes."""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """One thread for LAPACK: the matrices of a network are small (QR of orthogonal weights), its draws many.

    The threads of OpenBLAS, which XLA's LAPACK calls on a CPU, wait for each other by spinning. Where other programs
    keep the cores busy, a QR of 128 rows then takes 0.6 s instead of 0.6 ms, and on idle cores twice the time.
    """
    import scipy.linalg  # noqa: F401  (XLA calls its LAPACK, which must be loaded to be told)

    with threadpool_limits(1, user_api="blas"):
        yield
