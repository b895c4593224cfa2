"""How many threads large operations use: the kernels' pool and NumPy's BLAS."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from flambeau.backends.lapack import bundled_blas

__all__ = ["available", "get_num_interop_threads", "get_num_threads", "leave_blas_alone",
           "set_num_interop_threads", "set_num_threads"]


class _Wanted:
    count: int | None = None
    interop: int | None = None
    # Whether NumPy's BLAS may use threads of its own.
    blas = True


@functools.cache
def available() -> int:
    """The number of CPUs that this process may use."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_num_threads() -> int:
    """The number of threads that one operation may use."""
    return available() if _Wanted.count is None else _Wanted.count


def set_num_threads(count: int) -> None:
    """Let one operation use this many threads.

    >>> import flambeau as torch
    >>> torch.set_num_threads(1)
    >>> torch.get_num_threads()
    1
    """
    if type(count) is not int:
        raise TypeError(f"set_num_threads expects an int, but got {type(count).__name__}")
    if count < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
    _Wanted.count = count
    _set_blas(count if _Wanted.blas else 1)


def leave_blas_alone() -> None:
    """Keep NumPy's BLAS to one thread from now on: others run it side by side."""
    if _Wanted.blas:
        _Wanted.blas = False
        _set_blas(1)


def _set_blas(count: int) -> None:
    setter = _blas_setter()
    if setter is not None:
        setter(count)


def get_num_interop_threads() -> int:
    """The number of operations that could run side by side; they run one after another here."""
    return available() if _Wanted.interop is None else _Wanted.interop


def set_num_interop_threads(count: int) -> None:
    """Accepted for programs that set it; operations run one after another."""
    if count < 1:
        raise RuntimeError("expected positive number of inter-op threads")
    _Wanted.interop = count


@functools.cache
def _blas_setter() -> Callable[[int], object] | None:
    """The function of NumPy's bundled OpenBLAS that sets its threads, where it has one."""
    for library in bundled_blas():
        for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_"):
            if hasattr(library, name):
                return getattr(library, name)
    return None
