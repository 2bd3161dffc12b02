from threadpoolctl import threadpool_info

from widelimit._threads import one_blas_thread


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_all_of_blas_takes_one_thread_and_then_as_many_as_before():
    before = blas_threads()
    with one_blas_thread():
        within = blas_threads()
    assert within
    assert set(within) == {1}
    assert blas_threads()[: len(before)] == before
