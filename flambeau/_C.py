"""``torch._C``: the little that libraries ask of PyTorch's native part."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from flambeau.base.missing import missing_attribute
from flambeau.core.function_modes import mode_at as _get_function_stack_at
from flambeau.core.function_modes import pop_mode as _pop_torch_function_stack
from flambeau.core.function_modes import push_mode as _push_on_torch_function_stack
from flambeau.core.overrides import STATE
from flambeau.core.overrides import all_disabled as DisableTorchFunction
from flambeau.core.overrides import disabled as DisableTorchFunctionSubclass

__all__ = ["DisableTorchFunction", "DisableTorchFunctionSubclass", "_get_function_stack_at",
           "_is_torch_function_enabled", "_is_torch_function_mode_enabled",
           "_len_torch_function_stack", "_log_api_usage_once", "_pop_torch_function_stack",
           "_push_on_torch_function_stack"]

_seen: set[str] = set()


def _log_api_usage_once(event: str) -> None:
    """Tell stderr, once, that a library was used; only where PYTORCH_API_USAGE_STDERR is set."""
    if event in _seen:
        return
    _seen.add(event)
    if os.environ.get("PYTORCH_API_USAGE_STDERR"):
        print(f"PYTORCH_API_USAGE {event}", file=sys.stderr)


def _is_torch_function_enabled() -> bool:
    """Whether classes of arguments are asked, in this thread."""
    return not STATE.disabled


def _is_torch_function_mode_enabled() -> bool:
    """Whether there is a mode to be asked, in this thread."""
    return STATE.asks_modes


def _len_torch_function_stack() -> int:
    """How many modes are on in this thread."""
    return len(STATE.modes)


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
