"""A module on several GPUs of one process; without any it runs as it is."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.nn.modules.module import Module

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Splits each batch over the GPUs; on a CPU there are none, and it calls ``module``.

    >>> import flambeau as torch
    >>> torch.nn.DataParallel(torch.nn.Linear(2, 3))(torch.ones(4, 2)).shape
    torch.Size([4, 3])
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None,
                 dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        return self.module(*inputs, **kwargs)


def data_parallel(module: Module, inputs: Any, device_ids: Any = None, output_device: Any = None,
                  dim: int = 0, module_kwargs: Any = None) -> NoReturn:
    """``module`` of ``inputs``, split over GPUs; RuntimeError where there is none."""
    raise RuntimeError("device type could not be determined")
