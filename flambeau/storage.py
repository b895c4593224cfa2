"""Storages whose elements have a dtype, as PyTorch keeps them for old programs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from flambeau.base import naming
from flambeau.base.device import device as Device
from flambeau.base.dtypes import BY_NAME, get_default_dtype
from flambeau.base.dtypes import dtype as Dtype
from flambeau.core.face import FACES, public, show
from flambeau.core.promote import NUMBERS, number_array
from flambeau.core.storage import UntypedStorage
from flambeau.core.tensor import Tensor

__all__ = ["TypedStorage", "UntypedStorage"]

DEPRECATED = ("TypedStorage is deprecated. It will be removed in the future and UntypedStorage "
              "will be the only storage class. This should only matter to you if you are using "
              "storages directly.  To access UntypedStorage directly, use "
              "tensor.untyped_storage() instead of tensor.storage()")
_told: list[bool] = []


def _tell() -> None:
    if not _told:
        _told.append(True)
        warnings.warn(DEPRECATED, UserWarning, stacklevel=3)


def _forms(name: str, typed: bool) -> str:
    more = "" if typed else ", torch.dtype dtype"
    second = "" if typed else ", *, torch.device device, torch.dtype dtype"
    first = "no arguments" if typed else f"({second[2:]})"
    return (f"{name} received an invalid combination of arguments. Expected one of:\n * {first}\n"
            f" * (int size{second})\n * (Sequence data{second})\n"
            f" * (*, UntypedStorage wrap_storage{more})\n")


class TypedStorage:
    """Elements of one dtype in the memory of an ``UntypedStorage``.

    ``TypedStorage(n, dtype=...)`` has n elements that are not initialised, ``TypedStorage([...])``
    those given; ``wrap_storage`` shares memory.

    >>> import flambeau as torch
    >>> torch.FloatStorage([1, 2]).tolist()
    [1.0, 2.0]
    """

    is_cuda = is_hpu = is_sparse = False
    filename: str | None = None
    dtype: Dtype
    _untyped: UntypedStorage
    _fixed: Dtype | None = None

    def __new__(cls, *args: Any, wrap_storage: UntypedStorage | None = None,
                dtype: Dtype | None = None, device: Any = None) -> TypedStorage:
        _tell()
        name = "TypedStorage.__init__"
        if cls._fixed is not None:
            name = f"{cls}.__new__"
            if dtype is not None:
                raise RuntimeError(f"{_forms(name, True)}Keyword argument 'dtype' cannot be given")
        self = object.__new__(TypedStorage)
        if wrap_storage is not None:
            self._wrap(name, wrap_storage, cls._fixed or dtype, args)
            return self
        self.dtype = cls._fixed or dtype or get_default_dtype()
        self._untyped = UntypedStorage.of(_elements(name, args, self.dtype, cls._fixed is not None))
        self._untyped._alone = True
        return self

    def _wrap(self, name: str, storage: Any, held: Dtype | None, args: tuple) -> None:
        typed = not name.startswith("TypedStorage.")
        if args:
            raise RuntimeError(f"{_forms(name, typed)}No positional arguments should be given when "
                               "using 'wrap_storage'")
        if held is None:
            raise RuntimeError(f"{_forms(name, typed)}Argument 'dtype' must be specified")
        if not isinstance(storage, UntypedStorage):
            raise TypeError(f"{_forms(name, typed)}Argument 'wrap_storage' must be UntypedStorage, "
                            f"but got {type(storage)}")
        self.dtype, self._untyped = held, storage

    @classmethod
    def of(cls, storage: UntypedStorage, held: Dtype) -> TypedStorage:
        """The elements of dtype ``held`` in ``storage``."""
        self = object.__new__(TypedStorage)
        self.dtype, self._untyped = held, storage
        return self

    @classmethod
    def from_buffer(cls, *args: Any, dtype: Dtype | None = None, **kwargs: Any) -> TypedStorage:
        """A copy of the memory of an object with the buffer protocol."""
        held = cls._fixed or dtype or get_default_dtype()
        return TypedStorage.of(UntypedStorage.from_buffer(*args, dtype=held, **kwargs), held)

    @property
    def _a(self) -> np.ndarray:
        return self._untyped._bytes.view(self.dtype.np)

    def untyped(self) -> UntypedStorage:
        """The bytes."""
        return self._untyped

    _untyped_storage = property(lambda self: self._untyped)
    _cdata = property(lambda self: self._untyped._cdata)

    def size(self) -> int:
        """The number of elements."""
        return self._untyped.nbytes() // self.dtype.itemsize

    __len__ = size

    def nbytes(self) -> int:
        """The length in bytes."""
        return self._untyped.nbytes()

    def element_size(self) -> int:
        """The bytes of an element."""
        return self.dtype.itemsize

    def data_ptr(self) -> int:
        """The address of the first byte; 0 where there is none."""
        return self._untyped.data_ptr()

    @property
    def device(self) -> Device:
        """Where the memory is."""
        return self._untyped.device

    def get_device(self) -> int:
        """-1: the CPU."""
        return -1

    def cpu(self) -> Self:
        """Itself."""
        return self

    def is_pinned(self, device: Any = None) -> bool:
        """False."""
        return False

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._a.astype(np.float64).tolist() if self._a.dtype.kind == "V" else (
            self._a.tolist())

    def clone(self) -> TypedStorage:
        """A copy."""
        return self.of(self._untyped.clone(), self.dtype)

    def copy_(self, source: Any, non_blocking: bool | None = None) -> Self:
        """Overwrite the bytes with those of a storage of the same length."""
        self._untyped.copy_(source)
        return self

    def fill_(self, value: Any) -> Self:
        """Overwrite every element."""
        self._a[...] = number_array(value, self.dtype.np)
        return self

    def resizable(self) -> bool:
        """Whether ``resize_`` is possible: not where tensors share the memory."""
        return self._untyped.resizable()

    def resize_(self, size: int) -> None:
        """Change the number of elements."""
        self._untyped.resize_(size * self.dtype.itemsize)

    def to_dtype(self, held: Dtype) -> TypedStorage:
        """The elements in another dtype; itself where it is that already."""
        if held is self.dtype:
            return self
        return self.of(UntypedStorage.of(self._a.astype(held.np)), held)

    def pickle_storage_type(self) -> str:
        """The name of the class of storages of this dtype."""
        return f"{self.dtype.title}Storage"

    def type(self, dtype: str | None = None, non_blocking: bool = False) -> Any:
        """The dotted name of that class, or the elements as the class named holds them."""
        if dtype is None:
            return f"{naming.prefix()}.{self.pickle_storage_type()}"
        return self.to_dtype(FACES["torch"][str(dtype).rpartition(".")[2]].dtype)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return self.tolist()[self._at(at)]

    def _at(self, at: Any) -> int:
        if not isinstance(at, int):
            raise RuntimeError(f"can't index a {type(self)} with {type(at)}")
        if not -self.size() <= at < self.size():
            raise IndexError(f"index {at} out of range for storage of size {self.size()}")
        return at

    def __setitem__(self, at: Any, value: Any) -> None:
        if not isinstance(value, NUMBERS):
            raise TypeError(f"can't assign a {type(value).__name__} to a {naming.prefix()}."
                            f"{self.dtype.title}Tensor")
        self._a[at if isinstance(at, slice) else self._at(at)] = value

    def __iter__(self) -> Iterator:
        return iter(self.tolist())

    def __deepcopy__(self, memo: dict) -> TypedStorage:
        return self.of(self._untyped.__deepcopy__(memo), self.dtype)

    __copy__ = clone

    def __reduce__(self) -> tuple:
        return TypedStorage.of, (self._untyped, self.dtype)

    def __repr__(self) -> str:
        lines = "\n ".join(map(str, self.tolist()))
        return (f" {lines}\n[{naming.prefix()}.storage.TypedStorage(dtype={self.dtype}, device=cpu)"
                f" of size {self.size()}]")


def _elements(name: str, args: tuple, held: Dtype, typed: bool) -> np.ndarray:
    """The memory that the arguments of a constructor ask for."""
    if len(args) > 1:
        raise RuntimeError(f"{_forms(name, typed)}Too many positional arguments")
    if not args:
        return np.empty(0, held.np)
    if isinstance(args[0], int):
        return np.empty(args[0], held.np)
    if isinstance(args[0], Sequence) or isinstance(args[0], TypedStorage):
        return np.array(list(args[0])).astype(held.np)
    raise TypeError(f"{_forms(name, typed)}Argument type not recognized: {type(args[0])}")


@public("Tensor", name="storage")
def storage_of(self: Tensor) -> TypedStorage:
    """The memory that this tensor shares with its views, as elements of its dtype."""
    _tell()
    return TypedStorage.of(self.untyped_storage(), self.dtype)


@public("torch")
def is_storage(obj: Any) -> bool:
    """Whether ``obj`` is a storage."""
    return isinstance(obj, (TypedStorage, UntypedStorage))


class _OfDtype(type):
    """The classes of one dtype: an instance is any TypedStorage of that dtype."""

    def __instancecheck__(cls, x: Any) -> bool:
        fixed = cls.__dict__.get("_fixed")
        return issubclass(type(x), cls) or (
            fixed is not None and isinstance(x, TypedStorage) and x.dtype is fixed)

    def __repr__(cls) -> str:
        return f"<class '{naming.prefix()}.{cls.__name__}'>"


def _caster(name: str, held: Dtype) -> None:
    def method(self: Any) -> TypedStorage:
        if isinstance(self, UntypedStorage):
            self = TypedStorage.of(self, BY_NAME["uint8"])
        return self.to_dtype(held)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The elements as {held.name}."
    setattr(TypedStorage, name, method)
    setattr(UntypedStorage, name, method)


for _method, _name in {"float": "float32", "double": "float64", "half": "float16",
                       "bfloat16": "bfloat16", "byte": "uint8", "char": "int8", "short": "int16",
                       "int": "int32", "long": "int64", "bool": "bool",
                       "complex_float": "complex64", "complex_double": "complex128"}.items():
    _held = BY_NAME[_name]
    _caster(_method, _held)
    _kind = _OfDtype(f"{_held.title}Storage", (TypedStorage,),
                     {"_fixed": _held, "dtype": _held, "__module__": "flambeau",
                      "__doc__": f"Storages of {_name} elements."})
    show(_kind, _kind.__name__, "torch")
show(TypedStorage, "TypedStorage", "torch")
UntypedStorage.__module__ = __name__
