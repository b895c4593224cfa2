"""``torch.profiler``: which operators a program runs, when, and what they take."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.profiler import kineto_available, record_function
from flambeau.autograd.profiler_util import DeviceType
from flambeau.base.missing import missing_attribute as _missing
from flambeau.profiler.profiler import (
    ProfilerActivity,
    profile,
    supported_activities,
    tensorboard_trace_handler,
)
from flambeau.profiler.schedules import ProfilerAction, schedule

__all__ = ["DeviceType", "ProfilerAction", "ProfilerActivity", "kineto_available", "profile",
           "record_function", "schedule", "supported_activities", "tensorboard_trace_handler"]


def __getattr__(name: str) -> Any:
    raise _missing(__name__, name, globals())
