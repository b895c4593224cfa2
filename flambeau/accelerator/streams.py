"""Streams and events, as PyTorch has them on the CPU: there is one queue, and it is empty."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.base import naming
from flambeau.base.device import CPU, as_device, device
from flambeau.core.face import show

__all__ = ["Event", "Stream"]


def _no_events(*args: Any) -> NoReturn:
    """Raises RuntimeError: the CPU has no events."""
    raise RuntimeError("cpu backend doesn't support events.")


class Stream:
    """The CPU's queue of operations: always empty, for every operator is done when it returns.

    >>> import flambeau as torch
    >>> torch.Stream("cpu").query()
    True
    """

    device_type = stream_id = 0
    device_index = -1

    def __init__(self, device: Any = None, *, priority: int = 0) -> None:
        as_device(device)

    @property
    def device(self) -> device:
        """The CPU."""
        return CPU

    def query(self) -> bool:
        """True: nothing is waiting."""
        return True

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait_event(self, event: Event) -> None:
        """Nothing to wait for."""

    record_event = wait_stream = _no_events

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        """The queue stays the same."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream)

    def __hash__(self) -> int:
        return hash(Stream)

    def __repr__(self) -> str:
        return f"{naming.prefix()}.Stream device_type=cpu, device_index=-1, stream_id=0"


class Event:
    """A mark in a queue; on the CPU it can be made and waited for, but not recorded."""

    event_id = 0

    def __init__(self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False,
                 interprocess: bool = False) -> None:
        as_device(device)
        self._timed = enable_timing

    @property
    def device(self) -> device:
        """The CPU."""
        return CPU

    record = _no_events

    def query(self) -> bool:
        """True: nothing is waiting."""
        return True

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait(self, stream: Stream | None = None) -> None:
        """Nothing to wait for."""

    def elapsed_time(self, other: Event) -> NoReturn:
        """Raises ValueError: neither event was recorded."""
        if not (self._timed and other._timed):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        raise ValueError("Both events must be recorded before calculating elapsed time.")

    def ipc_handle(self) -> NoReturn:
        """Raises NotImplementedError: events are not shared between processes."""
        raise NotImplementedError("torch.Event ipc is not supported yet, please open an issue if "
                                  "you need this!")

    def __repr__(self) -> str:
        return (f"{naming.prefix()}.Event device_type=cpu, device_index=-1, event_flag=0, "
                "event_id=0")


class AcceleratorError(RuntimeError):
    """An accelerator failed."""


class OutOfMemoryError(RuntimeError):
    """An accelerator has no memory left."""


for _kind in (Stream, Event, AcceleratorError, OutOfMemoryError):
    _kind.__module__ = "flambeau"
    show(_kind, _kind.__name__, "torch")
