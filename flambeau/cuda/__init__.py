"""CUDA as programs ask for it before they use it: there is none here, and all of it says so.

Questions have their answers (``is_available()`` is False, ``device_count()`` 0), seeding and
emptying caches do nothing, as in a PyTorch built for the CPU; what needs a GPU raises
AssertionError with what to write instead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from flambeau.base.device import as_device
from flambeau.base.missing import missing_attribute

__all__ = [
    "CUDAGraph", "Event", "OutOfMemoryError", "Stream", "StreamContext", "current_device",
    "current_stream", "default_stream", "device", "device_count", "empty_cache", "get_arch_list",
    "get_device_capability", "get_device_name", "get_device_properties", "get_rng_state",
    "get_rng_state_all", "graph", "init", "initial_seed", "ipc_collect", "is_available",
    "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all",
    "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated",
    "memory_reserved", "memory_stats", "reset_peak_memory_stats", "seed", "seed_all",
    "set_device", "set_rng_state", "set_rng_state_all", "stream", "synchronize",
]

default_generators: tuple = ()


class OutOfMemoryError(RuntimeError):
    """A device has no memory left; programs catch it to try again with less."""

    __module__ = "flambeau"


def is_available() -> bool:
    """False: there is no CUDA backend here.

    >>> import flambeau as torch
    >>> "cuda" if torch.cuda.is_available() else "cpu"
    'cpu'
    """
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def get_arch_list() -> list[str]:
    """An empty list."""
    return []


def manual_seed(seed: int) -> None:
    """Nothing to seed. The CPU's generator is seeded by ``torch.manual_seed``."""


def manual_seed_all(seed: int) -> None:
    """Nothing to seed."""


def seed() -> None:
    """Nothing to seed."""


def seed_all() -> None:
    """Nothing to seed."""


def empty_cache() -> None:
    """Nothing to empty."""


def memory_allocated(device: object = None) -> int:
    """0 bytes."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def memory_stats(device: object = None) -> OrderedDict[str, Any]:
    """No statistics."""
    return OrderedDict()


def get_rng_state_all() -> list:
    """An empty list: one state per device."""
    return []


def set_rng_state_all(new_states: Iterable) -> None:
    """Set one state per device: of none."""
    for state in new_states:
        set_rng_state(state)


def set_device(device: Any) -> None:
    """Raises AssertionError for a device; a negative index means none, as in PyTorch."""
    if not (isinstance(device, int) and device < 0):
        _refuse()


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises AssertionError: this needs a CUDA device."""
    as_device("cuda")
    raise AssertionError("Torch not compiled with CUDA enabled")


init = synchronize = ipc_collect = initial_seed = _refuse
current_device = current_stream = default_stream = _refuse
get_device_name = get_device_properties = get_device_capability = _refuse
get_rng_state = set_rng_state = mem_get_info = reset_peak_memory_stats = _refuse


class device:
    """A context in which a device is the current one; entering it raises, but for index -1."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def __enter__(self) -> None:
        set_device(self.device)

    def __exit__(self, kind: type | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        return None


class StreamContext:
    """A context in which a stream is the current one; None, the only one there is, is allowed."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            _refuse()

    def __exit__(self, kind: type | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        return None


class Stream:
    """A queue of work on a device. Making one raises AssertionError here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse()


class Event:
    """A mark in a stream. Making one raises AssertionError here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse()


def stream(stream: Any) -> StreamContext:
    """The context in which a stream is the current one."""
    return StreamContext(stream)


class CUDAGraph:
    """Recorded GPU work. Making one raises RuntimeError here."""

    def __new__(cls, keep_graph: bool = False) -> CUDAGraph:
        raise RuntimeError("Tried to instantiate dummy base class CUDAGraph")


class graph:
    """A block recorded into a CUDAGraph. Making one raises RuntimeError here."""

    def __init__(self, cuda_graph: CUDAGraph, pool: Any = None, stream: Any = None,
                 capture_error_mode: str = "global") -> None:
        raise RuntimeError("torch.cuda.Stream requires CUDA support")


def __getattr__(name: str) -> ModuleType:
    if name == "amp":
        return import_module("flambeau.cuda.amp")
    raise missing_attribute(__name__, name, globals())
