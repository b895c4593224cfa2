"""The profile of a program that says when its steps begin."""

from __future__ import annotations

import enum
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.autograd import profiler as recorder
from flambeau.autograd.profiler_util import EventList
from flambeau.profiler.schedules import ProfilerAction

__all__ = ["ProfilerActivity", "profile", "supported_activities", "tensorboard_trace_handler"]

CLEARED = ("Warning: Profiler clears events at the end of each cycle. Only events from the current "
           "cycle will be reported. To keep events across cycles, set acc_events=True.")
RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


class ProfilerActivity(enum.Enum):
    """What can be recorded: the CPU, and accelerators, of which there are none here."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


def supported_activities() -> set[ProfilerActivity]:
    """What can be recorded here."""
    return {ProfilerActivity.CPU}


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None,
                              use_gzip: bool = False) -> Callable[[profile], None]:
    """A function for ``on_trace_ready`` that writes traces into a folder for TensorBoard.

    ``worker_name`` tells processes apart: the host and the process id by default.
    """
    def write(prof: profile) -> None:
        try:
            os.makedirs(dir_name, exist_ok=True)
        except OSError as error:
            raise RuntimeError(f"Can't create directory: {dir_name}") from error
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + ".gz" * use_gzip
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return write


def _activities(given: Iterable[Any]) -> set[ProfilerActivity]:
    """Activities, each alone or as the key of a dict of kinds of events."""
    found: set[ProfilerActivity] = set()
    for item in given:
        for activity in item if isinstance(item, dict) else (item,):
            if not isinstance(activity, ProfilerActivity):
                raise TypeError("activities must be ProfilerActivity or a dict of them, not "
                                f"{type(activity).__name__}")
            if activity in found:
                raise ValueError(f"activity {activity} is given twice")
            found.add(activity)
    return found


class profile:
    """Records the operators that a thread runs, inside of a ``with`` block or from ``start`` on.

    With a ``schedule`` the program calls ``step()`` at the end of each of its steps, and the
    schedule says in which to record; ``on_trace_ready(profile)`` is called after the last step of
    each cycle, or at the end. ``record_shapes``, ``profile_memory``, ``with_stack`` and
    ``with_flops`` as of ``torch.autograd.profiler.profile``. Activities other than the CPU's have
    nothing to record.

    >>> import flambeau as torch
    >>> from flambeau.profiler import ProfilerActivity, profile
    >>> with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof:
    ...     _ = torch.ones(2, 3).exp()
    >>> for event in prof.key_averages(group_by_input_shape=True):
    ...     print(event.key, event.count, event.input_shapes)
    aten::ones 1 [[], []]
    aten::exp 1 [[2, 3]]
    """

    def __init__(self, *, activities: Iterable[Any] | None = None,
                 schedule: Callable[[int], ProfilerAction] | None = None,
                 on_trace_ready: Callable[[profile], Any] | None = None,
                 record_shapes: bool = False, profile_memory: bool = False,
                 with_stack: bool = False, with_flops: bool = False, with_modules: bool = False,
                 experimental_config: Any = None, acc_events: bool = False,
                 use_cuda: bool | None = None) -> None:
        if use_cuda is not None:
            warnings.warn("`use_cuda` is deprecated, use `activities` argument instead",
                          FutureWarning, stacklevel=2)
        self.activities = supported_activities() if activities is None else _activities(activities)
        if not self.activities:
            raise AssertionError("No valid profiler activities found")
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self.with_modules = with_modules
        self.acc_events = acc_events
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.record_steps = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.step_num = 0
        self.current_action = self.schedule(0)
        self.preset_metadata: dict[str, str] = {}
        self.profiler: recorder.profile | None = None
        self._metadata: dict[str, str] = {}
        self._running = False
        self._step: recorder.record_function | None = None

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin with the current step."""
        self._go_on(ProfilerAction.NONE, self.current_action)
        self._open_step()

    def step(self) -> None:
        """Say that the next step begins."""
        self._close_step()
        before = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        self._go_on(before, self.current_action)
        self._open_step()

    def stop(self) -> None:
        """End; what was recorded is ready."""
        self._close_step()
        if self._running:
            self._stop_recording()
            self._ready()

    def _open_step(self) -> None:
        if self.record_steps:
            self._step = recorder.record_function(f"{recorder.STEP}{self.step_num}")
            self._step.__enter__()

    def _close_step(self) -> None:
        step, self._step = self._step, None
        if step is not None:
            step.__exit__()

    def _go_on(self, before: ProfilerAction, now: ProfilerAction) -> None:
        """From the action of one step to that of the next."""
        if ProfilerAction.DEVICE_STOPPED in (before, now):
            raise ValueError("ProfilerAction.DEVICE_STOPPED is set internally by the profiler and "
                             "must not be returned by a user-provided schedule")
        if self._running and (now not in RECORDING or before is ProfilerAction.RECORD_AND_SAVE):
            self._stop_recording()
            if before is ProfilerAction.RECORD_AND_SAVE:
                self._ready()
            else:
                warnings.warn(f"Incorrect schedule: {before.name} followed by {now.name}",
                              stacklevel=3)
        elif before is ProfilerAction.WARMUP and now is ProfilerAction.NONE:
            warnings.warn("Incorrect schedule: WARMUP followed by NONE", stacklevel=3)
        if now in RECORDING and not self._running:
            self._start_recording()

    def _start_recording(self) -> None:
        if self.profiler is not None and not self.acc_events:
            warnings.warn(CLEARED, stacklevel=4)
        if self.profiler is None or not self.acc_events:
            self.profiler = recorder.profile(
                record_shapes=self.record_shapes, with_flops=self.with_flops,
                profile_memory=self.profile_memory, with_stack=self.with_stack,
                with_modules=self.with_modules, acc_events=self.acc_events,
                use_cpu=ProfilerActivity.CPU in self.activities)
        self._metadata |= self.preset_metadata
        self.profiler._start_trace()
        self._running = True

    def _stop_recording(self) -> None:
        assert self.profiler is not None
        self._running = False
        self.profiler.__exit__(None, None, None)

    def _ready(self) -> None:
        if self.on_trace_ready:
            self.on_trace_ready(self)

    def _recorded(self, purpose: str) -> recorder.profile:
        if self.profiler is None:
            raise AssertionError(f"Profiler must be initialized before {purpose}")
        return self.profiler

    def toggle_collection_dynamic(self, enable: bool,
                                  activities: Iterable[ProfilerActivity]) -> None:
        """Go on without recording, or with it again."""
        if ProfilerActivity.CPU in set(activities) and self.profiler is not None:
            assert self.profiler.session is not None
            self.profiler.session.paused = not enable

    def events(self) -> EventList:
        """All events of the last cycle (with ``acc_events``: of every cycle)."""
        return self._recorded("accessing events").function_events

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0,
                     group_by_overload_name: bool = False) -> EventList:
        """The events summed up by name, and by input shapes and by innermost calls if asked."""
        return self._recorded("getting key averages").key_averages(
            group_by_input_shape, group_by_stack_n, group_by_overload_name)

    def export_chrome_trace(self, path: str) -> None:
        """Write a trace that chrome://tracing, Perfetto and TensorBoard show; ".gz" compresses."""
        self._recorded("exporting chrome trace").export_chrome_trace(path, self._metadata)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write calls and their times, as flame graphs are made of; takes ``with_stack``."""
        self._recorded("exporting stacks").export_stacks(path, metric)

    def add_metadata(self, key: str, value: str) -> None:
        """Have a text in the trace."""
        escaped = value.replace('"', '\\"')
        self._metadata[key] = f'"{escaped}"'

    def add_metadata_json(self, key: str, value: str) -> None:
        """Have a value in the trace, which is given in JSON."""
        self._metadata[key] = value

    def preset_metadata_json(self, key: str, value: str) -> None:
        """As ``add_metadata_json``, before the profile has begun."""
        self.preset_metadata[key] = value
