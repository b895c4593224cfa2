"""Copies of a module on several GPUs, which need GPUs."""

from __future__ import annotations

from typing import Any

from flambeau.base.device import device

__all__ = ["replicate"]


def replicate(network: Any, devices: Any, detach: bool = False) -> list:
    """``network`` once per device; raises where a device is the CPU or is not there."""
    if not devices:
        return []
    for place in devices:
        if not isinstance(place, int) and device(place).type == "cpu":
            raise ValueError(f"Expected a non cpu device, but got: {place}")
    raise AssertionError("Broadcast function not implemented for CPU tensors")
