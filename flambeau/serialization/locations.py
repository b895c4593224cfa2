"""Where a checkpoint's storages go: ``map_location``, and what a location of the file means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.base.device import device
from flambeau.core.storage import UntypedStorage
from flambeau.storage import TypedStorage

__all__ = ["default_restore_location", "register_package", "restorer"]

Restore = Callable[[UntypedStorage, str], UntypedStorage]
NO_CUDA = (
    "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If "
    "you are running on a CPU-only machine, please use torch.load with "
    "map_location=torch.device('cpu') to map your storages to the CPU.")
_packages: list[tuple[int, Callable, Callable]] = []


def register_package(priority: int, tagger: Callable, deserializer: Callable) -> None:
    """Let ``deserializer(storage, location)`` restore storages; the least priority is asked first.

    It returns None where a location is not its own. ``tagger`` would say where a storage is saved
    from; here it is always the CPU.
    """
    _packages.append((priority, tagger, deserializer))
    _packages.sort(key=lambda package: package[0])


def default_restore_location(storage: Any, location: str) -> Any:
    """The storage at the location that the file says; RuntimeError where there is no such."""
    for _, _, deserializer in _packages:
        found = deserializer(storage, location)
        if found is not None:
            return found
    if location == "cpu":
        return storage
    if location.startswith("cuda"):
        raise RuntimeError(NO_CUDA)
    raise RuntimeError("don't know how to restore data location of "
                       f"{type(storage).__module__}.{type(storage).__name__} (tagged with "
                       f"{location})")


def restorer(map_location: Any) -> Restore:
    """The function that puts a storage where ``map_location`` says."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(
            storage, str(map_location.get(location, location)))
    if isinstance(map_location, (str, bytes, device)):
        where = map_location.decode() if isinstance(map_location, bytes) else str(map_location)
        return lambda storage, location: default_restore_location(storage, where)
    if not callable(map_location):
        raise TypeError(f"'{type(map_location).__name__}' object is not callable")
    return lambda storage, location: _restored(map_location, storage, location)


def _restored(call: Callable, storage: UntypedStorage, location: str) -> UntypedStorage:
    found = call(storage, location)
    if found is None:
        return default_restore_location(storage, location)
    return found._untyped if isinstance(found, TypedStorage) else found
