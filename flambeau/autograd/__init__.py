"""Automatic differentiation: backward, grad, modes, hooks, custom functions."""

from __future__ import annotations

from flambeau.autograd import anomaly_mode, function, graph, hooks
from flambeau.autograd import modes as grad_mode
from flambeau.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from flambeau.autograd.backward import backward, grad
from flambeau.autograd.function import Function
from flambeau.autograd.modes import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["Function", "anomaly_mode", "backward", "detect_anomaly", "enable_grad", "function",
           "grad", "grad_mode", "graph", "hooks", "inference_mode", "no_grad",
           "set_detect_anomaly", "set_grad_enabled"]
