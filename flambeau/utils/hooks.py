"""Handles of hooks, and what is said of hooks when tensors are saved."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from flambeau.core.node import RemovableHandle
from flambeau.nn.modules.backward_hook import BackwardHook

__all__ = ["BackwardHook", "RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


def unserializable_hook(f: Callable) -> Callable:
    """Mark a hook as one that is meant to be lost when its tensor is saved.

    >>> unserializable_hook(lambda grad: grad).__torch_unserializable__
    True
    """
    f.__torch_unserializable__ = True  # type: ignore[attr-defined]
    return f


def warn_if_has_hooks(tensor: Any) -> None:
    """Warn of each hook on ``tensor`` that would be lost, but for those marked as meant to be."""
    for hook in (tensor._backward_hooks or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(f"backward hook {hook!r} on tensor will not be serialized.  If this is "
                          "expected, you can decorate the function with "
                          "@torch.utils.hooks.unserializable_hook to suppress this warning",
                          stacklevel=2)
