"""Devices, layouts and memory formats: the names that say where and how a tensor is stored."""

from __future__ import annotations

from flambeau.base import naming
from flambeau.base.errors import told

__all__ = ["CHOSEN", "CPU", "META", "as_device", "device", "get_default_device", "layout",
           "memory_format", "set_default_device"]

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
            index, type = type.index, type.type
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

    def __enter__(self) -> device:
        CHOSEN.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        CHOSEN.pop()


_device = device
CPU = device("cpu")
META = device("meta")
# The devices that new tensors were asked to be on, the innermost last.
CHOSEN: list[device] = []


class _Default:
    device: device | None = None


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
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")
jagged = layout("jagged")
contiguous_format = legacy_contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


def set_default_device(device: device | str | int | None) -> None:
    """Put new tensors on ``device`` where nothing else is said; None means the CPU.

    A device that no backend serves raises when a tensor is made. ``with torch.device(...):`` does
    the same inside a block.

    >>> import flambeau as torch
    >>> with torch.device("cpu"):
    ...     torch.ones(1).device
    device(type='cpu')
    """
    found = None if device is None else _device(device)
    if _Default.device is not None:
        del CHOSEN[0]
    _Default.device = found
    if found is not None:
        CHOSEN.insert(0, found)


def get_default_device() -> device:
    """Where new tensors are put when nothing else is said."""
    return CHOSEN[-1] if CHOSEN else CPU


def as_device(value: device | str | int | None) -> device:
    """The device meant by an argument; one that no backend serves raises and says what to do."""
    if value is None:
        if not CHOSEN:
            return CPU
        value = CHOSEN[-1]
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
