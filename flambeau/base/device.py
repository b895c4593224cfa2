"""Devices, layouts and memory formats: the names that say where and how a tensor is stored."""

from __future__ import annotations

from flambeau.base import naming
from flambeau.base.errors import told

__all__ = ["CPU", "META", "as_device", "device", "layout", "memory_format"]

_TYPES = ("cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, "
          "vulkan, mps, meta, hpu, mtia, privateuseone")
_KNOWN = frozenset(_TYPES.split(", "))


class device:
    """Where a tensor lives: a type and, where it has several, an index.

    >>> import flambeau as torch
    >>> torch.device("cuda:1").index, str(torch.device("cpu"))
    (1, 'cpu')
    """

    __slots__ = ("type", "index")
    type: str
    index: int | None

    def __init__(self, type: str | int | device, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        if isinstance(type, int):
            raise RuntimeError("Cannot access accelerator device when none is available.")
        name, colon, number = type.partition(":")
        if name not in _KNOWN:
            raise RuntimeError(f"Expected one of {_TYPES} device type at start of device "
                               f"string: {name}")
        if colon:
            if not number.isdigit() or index is not None:
                raise RuntimeError(f"Invalid device string: '{type}'")
            index = int(number)
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "index", index)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"attribute '{name}' of '{naming.prefix()}.device' objects is not "
                             "writable")

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, device) and self.type == other.type
                and self.index == other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __reduce__(self) -> tuple:
        return device, (str(self),)


CPU = device("cpu")
META = device("meta")


class _Named:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"{naming.prefix()}.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class layout(_Named):
    """How elements are laid out: ``strided``, or one of the sparse layouts."""

    __slots__ = ()


class memory_format(_Named):
    """The order of dimensions in memory."""

    __slots__ = ()


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


def as_device(value: device | str | int | None) -> device:
    """The device meant by an argument; one that no backend serves raises and says what to do."""
    if value is None:
        return CPU
    found = value if isinstance(value, device) else device(value)
    if found.type != "cpu":
        _refuse(found)
    return found


def _refuse(found: device) -> None:
    if found.type == "cuda":
        raise AssertionError(
            told("Torch not compiled with CUDA enabled", "no_cuda"))
    raise NotImplementedError(told(
        f"Could not run 'aten::empty.memory_format' with arguments from the "
        f"'{found.type.upper()}' backend.", "no_device"))
