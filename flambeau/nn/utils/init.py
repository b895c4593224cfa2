"""Making modules without drawing their parameters."""

from __future__ import annotations

import inspect
from typing import Any

from flambeau.base.device import as_device
from flambeau.nn.init import skipped
from flambeau.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Any:
    """``module_cls(*args, **kwargs)``, whose parameters hold whatever their memory held.

    Nothing is drawn, so that the random stream stays where it is.

    >>> import flambeau as torch
    >>> torch.nn.utils.skip_init(torch.nn.Linear, 2, 3).weight.shape
    torch.Size([3, 2])
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    as_device(kwargs.pop("device", "cpu"))
    with skipped():
        return module_cls(*args, **kwargs)
