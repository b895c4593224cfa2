"""What arrays become of Python values: inference of shape and dtype, legacy constructors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from flambeau.base import dtypes, naming
from flambeau.base.device import CHOSEN, as_device
from flambeau.base.dtypes import BY_NAME, category_of, dtype, get_default_dtype, promote_types
from flambeau.base.dtypes import from_numpy as dtype_from_numpy
from flambeau.base.errors import told, warn_user
from flambeau.base.settings import FILLING, fill_blank
from flambeau.core.face import FACES, show
from flambeau.core.tensor import Tensor, new_tensor, wrap

_PLAIN = (bool, int, float, complex)
_HELD: dict[type, Any] = {float: float, int: np.dtype(np.int64), bool: np.dtype(np.bool_)}


def finish_new(array: np.ndarray, device: Any, requires_grad: bool) -> Tensor:
    """A leaf over ``array`` on ``device``, recording where asked."""
    if device is not None or CHOSEN:
        as_device(device)
    t = wrap(array)
    if requires_grad:
        if array.dtype.kind in "biu":
            raise RuntimeError(told("Only Tensors of floating point and complex dtype can require "
                                    "gradients", "integer_grad"))
        t.requires_grad_(True)
    return t


def warn_of_tensor(data: Any, name: str) -> None:
    """Warn, as PyTorch does, where ``name``, which copies data, is given a tensor."""
    if isinstance(data, Tensor):
        warn_user("To copy construct from a tensor, it is recommended to use "
                  "sourceTensor.detach().clone() or sourceTensor.detach().clone()"
                  f".requires_grad_(True), rather than {name}(sourceTensor).")


def array_of(data: Any, to: dtype | None) -> np.ndarray:
    """A fresh array of ``data``, in dtype ``to`` or in the one PyTorch infers."""
    if type(data) is list and to is None:
        found = _of_numbers(data)
        if found is not None:
            return found
    if isinstance(data, Tensor):
        return np.array(data._a) if to is None else data._a.astype(to.np)
    if isinstance(data, (np.ndarray, np.generic)):
        held = dtype_from_numpy(np.asarray(data).dtype) if to is None else to
        if np.asarray(data).dtype.kind == "c" and not held.is_complex:
            data = np.asarray(data).real
        return np.array(data, dtype=held.np, order="C")
    if hasattr(data, "__array__") and not isinstance(data, _PLAIN):
        return array_of(np.asarray(data), to)
    if not isinstance(data, _PLAIN):
        data = _plain_sequence(data)
    try:
        array = np.array(data)
    except ValueError:
        raise _ragged(data) from None
    except OverflowError:
        raise ValueError("Overflow when unpacking long long") from None
    if array.dtype.kind in "OUSV" or array.dtype == np.uint64:
        array = _wide_integers(array, data, to)
    return _in_dtype(array, data, to)


def _wide_integers(array: np.ndarray, data: Any, to: dtype | None) -> np.ndarray:
    """Integers of more than 63 bits, as those dtypes take them that hold them, or about."""
    if array.dtype == np.uint64 or all([isinstance(x, (int, float)) for x in array.flat]):
        if to is dtypes.uint64 and array.dtype == np.uint64:
            return array
        if to is not None and to.category != dtypes.INT:
            return array.astype(np.float64)
    raise _not_numbers(data)


def _of_numbers(data: list) -> np.ndarray | None:
    """The array of a list of numbers of one kind, or of such lists; None for every other list."""
    kinds = set(map(type, data))
    if kinds == {list}:
        kinds = set(map(type, chain.from_iterable(data)))
    held = _HELD.get(kinds.pop()) if len(kinds) == 1 else None
    if held is float:
        held = get_default_dtype().np
        if held.itemsize < 4:
            return None
    if held is None:
        return None
    try:
        return np.array(data, held)
    except (ValueError, OverflowError):
        return None  # what is wrong is said elsewhere


def _in_dtype(array: np.ndarray, data: Any, to: dtype | None) -> np.ndarray:
    if to is not None:
        return _converted(array, to)
    kind = array.dtype.kind
    named = None if isinstance(data, _PLAIN) else _dtype_of_scalars(data)
    if named is not None:
        return array.astype(named.np, copy=False)
    if kind in "fc" and not _holds_arrays(data):
        default = get_default_dtype()
        return array.astype((default if kind == "f" else default.to_complex()).np, copy=False)
    return array


def _dtype_of_scalars(data: Any) -> dtype | None:
    """What numbers promote to, in nested sequences some of whose numbers are NumPy's; else None."""
    kinds = _kinds(data)
    if not any([issubclass(kind, np.generic) for kind in kinds]):
        return None
    found: dtype | None = None
    for kind in kinds:
        if issubclass(kind, np.generic):
            own = dtype_from_numpy(np.dtype(kind))
        elif kind in _PLAIN:
            own = dtypes.default_for(category_of(kind()))
        else:
            return None
        found = own if found is None else promote_types(found, own)
    return found


def _kinds(data: Any) -> set[type]:
    """The types of what nested lists and tuples hold."""
    found = set(map(type, data))
    while found and found <= {list, tuple}:
        data = list(chain.from_iterable(data))
        found = set(map(type, data))
    return found


def _holds_arrays(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic))


def _plain_sequence(data: Any) -> Any:
    """``data`` with tensors inside it replaced by Python numbers."""
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if not isinstance(data, Sequence):
        if data is None or isinstance(data, (dict, set)) or not hasattr(data, "__getitem__"):
            raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
        return [data[i] for i in range(len(data))]
    if isinstance(data, range):
        return list(data)
    if any(isinstance(x, (Tensor, Sequence)) and not isinstance(x, str) for x in data):
        return [_element(x) for x in data]
    return data


def _element(x: Any) -> Any:
    if isinstance(x, Tensor):
        if x._a.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return x._a.item() if x._a.ndim == 0 else x.tolist()
    if isinstance(x, Sequence) and not isinstance(x, (str, bytes)):
        return _plain_sequence(x)
    return x


def _ragged(data: Any) -> Exception:
    """The error for nested sequences of unequal lengths, with the place where they differ."""

    def walk(x: Any, sizes: Sequence[int], at: int) -> Exception | None:
        if at == len(sizes):
            return None
        if not isinstance(x, (list, tuple)):
            return TypeError(f"'{type(x).__name__}' object cannot be interpreted as a sequence")
        if len(x) != sizes[at]:
            return ValueError(f"expected sequence of length {sizes[at]} at dim {at} "
                              f"(got {len(x)})")
        for y in x:
            problem = walk(y, sizes, at + 1)
            if problem is not None:
                return problem
        return None

    sizes, first = [], data
    while isinstance(first, (list, tuple)):
        sizes.append(len(first))
        if not first:
            break
        first = first[0]
    found = walk(data, sizes, 0)
    return found or TypeError("'list' object cannot be interpreted as an integer")


def _not_numbers(data: Any) -> Exception:
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, str):
        return ValueError("too many dimensions 'str'")
    if isinstance(first, bytes):
        return TypeError("new(): invalid data type 'bytes'")
    if isinstance(first, int):
        return ValueError("Overflow when unpacking long long")
    return RuntimeError(f"Could not infer dtype of {type(first).__name__}")


def _converted(array: np.ndarray, to: dtype) -> np.ndarray:
    kind = array.dtype.kind
    if kind == "c" and not to.is_complex and to.category != dtypes.BOOL:
        wanted = "must be real number, not complex" if to.is_floating_point else (
            "'complex' object cannot be interpreted as an integer")
        raise TypeError(wanted)
    if to.category == dtypes.INT and array.size:
        info = np.iinfo(to.np)
        # negative integers wrap around in unsigned dtypes
        low = -int(info.max) if kind in "iu" and not to.is_signed else int(info.min)
        bad = ~((array >= low) & (array <= info.max))
        if bad.any():
            raise RuntimeError(f"value cannot be converted to type {to.name} without overflow")
    return array.astype(to.np, copy=False)


def sizes_from(name: str, size: tuple) -> tuple[int, ...]:
    """A shape given as integers or as one sequence, checked."""
    if len(size) == 1 and not isinstance(size[0], int):
        only = size[0]
        if isinstance(only, (float, str)) or only is None:
            raise TypeError(f"{name}(): argument 'size' (position 1) must be tuple of ints, not "
                            f"{type(only).__name__}")
        size = (only,) if isinstance(only, Tensor) and not only._a.ndim else tuple(only)
    found = []
    for at, n in enumerate(size):
        try:
            found.append(n if type(n) is int else operator.index(n))
        except TypeError:
            raise TypeError(f"{name}(): argument 'size' failed to unpack the object at pos "
                            f"{at + 1} with error \"type must be tuple of ints,but got "
                            f"{type(n).__name__}\"") from None
    for n in found:
        if n < 0 and name == "zeros":
            raise RuntimeError(f"{name}: Dimension size must be non-negative.")
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {found}")
    return tuple(found)


def _construct(kind: type, to: dtype | None, args: tuple, device: Any) -> Tensor:
    """The legacy constructors: sizes make an uninitialised tensor, data a copy."""
    held = to or get_default_dtype()
    if device is not None or CHOSEN:
        as_device(device)
    if len(args) == 1 and isinstance(args[0], Tensor):
        if args[0]._a.dtype == held.np:
            return args[0].detach()
        raise TypeError(f"expected {held.title} (got {args[0].dtype.title})")
    if len(args) == 1 and not isinstance(args[0], (int, tuple)) or _is_data(args):
        data = args[0]
        if isinstance(data, (float, complex)) or not hasattr(data, "__len__"):
            raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
        return wrap(np.asarray(array_of(data, None)).astype(held.np))
    array = np.empty(sizes_from("new", args) if args else (0,), held.np)
    return wrap(fill_blank(array) if FILLING else array)


def _is_data(args: tuple) -> bool:
    return len(args) == 1 and isinstance(args[0], tuple) and type(args[0]) is tuple


def _new(cls: type, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
    made = _construct(cls, None, args, device)
    if cls is Tensor:
        return made
    t: Tensor = new_tensor(cls)
    t._a, t._node, t._v, t._x = made._a, None, made._v, made._x
    return t


def _init(self: Tensor, *args: Any, **kwargs: Any) -> None:
    """Everything is done when the tensor is made."""


Tensor.__new__ = _new  # type: ignore[assignment, method-assign]
Tensor.__init__ = _init  # type: ignore[method-assign, assignment]


def _legacy_type(name: str, held: dtype) -> type:
    class Typed(type):
        dtype = held

        def __call__(cls, *args: Any, device: Any = None) -> Tensor:
            return _construct(Tensor, held, args, device)

        def __instancecheck__(cls, x: Any) -> bool:
            return isinstance(x, Tensor) and x.dtype is held

        def __repr__(cls) -> str:
            return f"<class '{naming.prefix()}.{name}'>"

    return Typed(name, (), {"__doc__": f"Legacy constructor of {held.name} tensors.",
                            "dtype": held})


for _held in BY_NAME.values():
    if _held.title in ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int",
                       "Long", "Bool"):
        _name = f"{_held.title}Tensor"
        FACES["torch"][_name] = _legacy_type(_name, _held)


def _new_method(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """A tensor of this dtype by the legacy constructor's rules."""
    return _construct(Tensor, self.dtype, args, device)


show(_new_method, "new", "Tensor")

__all__ = ["array_of", "finish_new", "sizes_from"]
