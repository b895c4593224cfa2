"""LAPACK's routines, called where NumPy or SciPy brings them: no compiler, no further package.

NumPy's wheels carry an OpenBLAS that has all of LAPACK; SciPy hands out the addresses of its own.
Where neither is found the functions of ``backends.numpy.factor`` do the work.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["LETTERS", "Routine", "bundled_blas", "routine"]

LETTERS = {np.dtype("f4"): "s", np.dtype("f8"): "d", np.dtype("c8"): "c", np.dtype("c16"): "z"}


@functools.cache
def bundled_blas() -> tuple[ctypes.CDLL, ...]:
    """The OpenBLAS libraries that NumPy's wheel brings along."""
    from pathlib import Path  # start-up: few programs come here, and urllib comes with it

    package = Path(np.__file__).parent
    found = []
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in (*folder.glob("libscipy_openblas*"), *folder.glob("libopenblas*")):
            found.append(ctypes.CDLL(str(path)))
    return tuple(found)


class Routine:
    """A Fortran routine, run on each of a stack of matrices."""

    def __init__(self, function: Any, integer: type) -> None:
        self.function = function
        self.function.restype = None
        self.integer = integer
        self.int_dtype = np.dtype(integer)

    def __call__(self, count: int, *args: Any) -> None:
        """Run it ``count`` times on texts of one character, integers and arrays.

        Run ``i`` gets item ``i`` of each array, whose memory must be as Fortran expects it; nothing
        here checks that.
        """
        held: list[Any] = []  # keeps what is passed by reference
        steps = []
        for value in args:
            if isinstance(value, np.ndarray):
                steps.append((value.ctypes.data, value.strides[0]))
                continue
            is_text = isinstance(value, str)
            held.append(ctypes.c_char(value.encode()) if is_text else self.integer(value))
            steps.append((ctypes.addressof(held[-1]), 0))
        # A Fortran compiler may expect the lengths of texts behind all other arguments.
        lengths = [ctypes.c_size_t(1)] * sum(isinstance(a, str) for a in args)
        pointer, function = ctypes.c_void_p, self.function
        for i in range(count):
            function(*[pointer(at + i * step) for at, step in steps], *lengths)


@functools.cache
def routine(name: str, held: np.dtype) -> Routine | None:
    """``name`` ("getrf") for arrays of dtype ``held``; None where no library has it."""
    letter = LETTERS[held]
    return next(_candidates(letter + name), None)


def _candidates(name: str) -> Iterator[Routine]:
    for library in bundled_blas():
        for spelled, integer in ((f"scipy_{name}_64_", ctypes.c_int64),
                                 (f"{name}_64_", ctypes.c_int64),
                                 (f"scipy_{name}_", ctypes.c_int32)):
            if hasattr(library, spelled):
                yield Routine(getattr(library, spelled), integer)
    address = _from_scipy(name)
    if address is not None:
        yield Routine(ctypes.CFUNCTYPE(None)(address), ctypes.c_int32)


def _from_scipy(name: str) -> int | None:
    """The address of a routine that SciPy shares with other compiled code."""
    try:
        # SciPy is optional, and slow to import.
        from scipy.linalg import cython_blas, cython_lapack
    except ImportError:
        return None
    read_name = ctypes.pythonapi.PyCapsule_GetName
    read_name.restype, read_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    read = ctypes.pythonapi.PyCapsule_GetPointer
    read.restype, read.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    for module in (cython_lapack, cython_blas):
        capsule = module.__pyx_capi__.get(name)
        if capsule is not None:
            return read(capsule, read_name(capsule))
    return None
