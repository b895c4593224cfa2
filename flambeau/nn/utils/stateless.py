"""The old place of ``func.functional_call``."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.func import modules
from flambeau.nn.parallel.data_parallel import DataParallel

__all__ = ["functional_call"]

DEPRECATED = (
    "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be "
    "removed in a future version of PyTorch. Please use `torch.func.functional_call` instead which "
    "is a drop-in replacement.")


def functional_call(module: Any, parameters_and_buffers: dict, args: Any = None,
                    kwargs: dict | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:
    """``func.functional_call``; deprecated here."""
    warnings.warn(DEPRECATED, FutureWarning, stacklevel=2)
    if isinstance(module, DataParallel):
        raise RuntimeError("The stateless API can't be used with nn.DataParallel module")
    return modules.functional_call(module, parameters_and_buffers, args, kwargs,
                                   tie_weights=tie_weights, strict=strict)
