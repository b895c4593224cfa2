"""Automatic differentiation: backward, grad, modes, hooks, custom functions."""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import Any as _Any

from flambeau.autograd import anomaly_mode, graph, hooks
from flambeau.autograd import modes as grad_mode
from flambeau.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from flambeau.autograd.backward import backward, grad
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.autograd.modes import (
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from flambeau.base.missing import missing_attribute as _missing

# Modules loaded when first asked for, as few programs do, and names that they hold.
_LATER = ("forward_ad", "function", "functional", "profiler", "profiler_util", "variable")
_HELD = {"Function": "function", "Variable": "variable", "explain": "explanation"}


def __getattr__(name: str) -> _Any:
    if name in _LATER:
        return _import_module(f"flambeau.autograd.{name}")
    if name in _HELD:
        globals()[name] = found = getattr(_import_module(f"flambeau.autograd.{_HELD[name]}"), name)
        return found
    raise _missing(__name__, name, __dir__())


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_HELD})


__all__ = ["Function", "Variable", "anomaly_mode", "backward", "detect_anomaly", "enable_grad",
           "explain", "forward_ad", "function", "functional", "grad", "grad_mode", "gradcheck",
           "gradgradcheck", "graph", "hooks", "inference_mode", "no_grad", "set_detect_anomaly",
           "set_grad_enabled", "set_multithreading_enabled", "variable"]
