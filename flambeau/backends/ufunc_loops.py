"""The inner loops that NumPy's ufuncs consist of: their addresses, to be called without NumPy."""

from __future__ import annotations

import ctypes
import functools

import numpy as np

from flambeau.backends.llvm import calls

__all__ = ["Unknown", "loop_of"]

# Where a ufunc has its loops, what they are given besides, their number, and its name.
_LOOPS, _BESIDES, _COUNT, _NAME = (calls.HEAD + at for at in (16, 24, 32, 40))


class Unknown(Exception):
    """A ufunc has no such loop, or does not lie in memory as is taken here."""


@functools.cache
def loop_of(ufunc: np.ufunc, *dtypes: np.dtype) -> tuple[int, int, np.dtype]:
    """The address of a ufunc's loop for these dtypes, what it is given besides, and what it gives.

    Raises Unknown where there is none, or several results.
    """
    if not isinstance(ufunc, np.ufunc) or ufunc.nout != 1 or not _is_known(ufunc):
        raise Unknown
    chars = "".join([d.char for d in dtypes])
    for at, signature in enumerate(ufunc.types):
        takes, gives = signature.split("->")
        if takes == chars and gives != "O":
            word = ctypes.c_size_t.from_address
            functions, besides = word(id(ufunc) + _LOOPS).value, word(id(ufunc) + _BESIDES).value
            return (word(functions + 8 * at).value, word(besides + 8 * at).value,
                    np.dtype(gives))
    raise Unknown


def _is_known(ufunc: np.ufunc) -> bool:
    """Whether a ufunc lies in memory as is taken here: its name and numbers are found."""
    if ufunc.signature and ufunc is not np.matmul or not calls.layout_is_known():
        return False
    numbers = (ctypes.c_int * 3).from_address(id(ufunc) + calls.HEAD)
    count = ctypes.c_int.from_address(id(ufunc) + _COUNT).value
    if tuple(numbers) != (ufunc.nin, ufunc.nout, ufunc.nargs) or count != ufunc.ntypes:
        return False
    name = ctypes.c_void_p.from_address(id(ufunc) + _NAME).value
    return name is not None and ctypes.string_at(name) == ufunc.__name__.encode()
