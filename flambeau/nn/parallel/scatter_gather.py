"""Splitting tensors over GPUs and joining them again, which needs GPUs."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["gather", "scatter", "scatter_kwargs"]


def scatter(inputs: Any, target_gpus: Any, dim: int = 0) -> NoReturn:
    """The tensors of ``inputs`` split over GPUs; AssertionError where there is none."""
    raise AssertionError("Scatter function not implemented for CPU tensors")


def scatter_kwargs(inputs: Any, kwargs: Any, target_gpus: Any, dim: int = 0) -> NoReturn:
    """Positional and keyword arguments split over GPUs; AssertionError where there is none."""
    scatter(inputs, target_gpus, dim)


def gather(outputs: Any, target_device: Any, dim: int = 0) -> NoReturn:
    """Tensors of several GPUs joined on one; AssertionError where there is none."""
    raise AssertionError("Gather function not implemented for CPU tensors")
