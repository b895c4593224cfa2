"""``torch.autograd.profiler``: recording what operators take, and naming blocks of a program."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from flambeau.autograd.profiler_trace import write_trace
from flambeau.autograd.profiler_util import (
    EventList,
    FunctionEvent,
    FunctionEventAvg,
    Interval,
)
from flambeau.autograd.record_flops import flops_of
from flambeau.autograd.record_session import USER, Record, Session, active
from flambeau.autograd.record_targets import watch_all
from flambeau.base.missing import missing_attribute

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval", "kineto_available",
           "profile", "record_function"]


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())


_F = TypeVar("_F", bound=Callable)
STEP = "ProfilerStep#"
NO_RESULTS = "Expected profiling results"


def kineto_available() -> bool:
    """Whether PyTorch's tracing library is used: it is not."""
    return False


class profile:
    """Records, inside of its ``with`` block, the operators that this thread runs.

    ``record_shapes`` notes the sizes of their inputs, ``with_flops`` estimates floating-point
    operations, ``profile_memory`` counts the memory of results, ``with_stack`` notes the program's
    calls. While no profile is on, nothing is slower.

    >>> import flambeau as torch
    >>> with torch.autograd.profiler.profile() as prof:
    ...     _ = torch.ones(2).exp()
    >>> [event.name for event in prof.function_events]
    ['aten::ones', 'aten::exp']
    """

    def __init__(self, enabled: bool = True, *, use_cuda: bool = False,
                 use_device: str | None = None, record_shapes: bool = False,
                 with_flops: bool = False, profile_memory: bool = False,
                 with_stack: bool = False, with_modules: bool = False, use_kineto: bool = False,
                 use_cpu: bool = True, acc_events: bool = False) -> None:
        self.enabled = enabled
        self.use_cuda = False
        self.use_device: str | None = None
        if use_cuda:
            warnings.warn("The attribute `use_cuda` will be deprecated soon, please use "
                          "``use_device = 'cuda'`` instead.", FutureWarning, stacklevel=2)
        if enabled and (use_cuda or use_device == "cuda"):
            warnings.warn("CUDA is not available, disabling CUDA profiling", stacklevel=2)
        elif enabled and use_device is not None:
            warnings.warn(f"The {use_device} is not a valid device option.", stacklevel=2)
        self.record_shapes = record_shapes or with_flops
        self.with_flops = with_flops
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_modules = with_modules
        self.use_cpu = use_cpu
        self.acc_events = acc_events
        self.entered = False
        self.session: Session | None = None
        self._function_events: EventList | None = None
        self._earlier: list[FunctionEvent] = []

    def __enter__(self) -> profile:
        if self.enabled:
            if self.entered:
                raise RuntimeError("Profiler context manager is not reentrant")
            self._start_trace()
        return self

    def _start_trace(self) -> None:
        self.entered = True
        if self.acc_events and self.session is not None:
            self._earlier = list(self.function_events)
        self._function_events = None
        self.session = Session(shapes=self.record_shapes, memory=self.profile_memory,
                               stack=self.with_stack,
                               flops_of=flops_of if self.with_flops else None)
        self.session.start(watch_all if self.use_cpu else lambda session: None)

    def __exit__(self, *exc: object) -> None:
        if self.enabled and self.session is not None:
            self.session.stop()

    def _finished(self) -> EventList:
        if self._function_events is None:
            if self.session is None or not self.session.stop_ns:
                raise AssertionError(NO_RESULTS)
            self._function_events = EventList(
                [*_events_of(self.session), *self._earlier], profile_memory=self.profile_memory,
                with_flops=self.with_flops)
            self._function_events._tree_built = True
        return self._function_events

    @property
    def function_events(self) -> EventList:
        """All events, in the order in which they began."""
        return self._finished()

    def _unfinished(self) -> bool:
        return self.session is None or not self.session.stop_ns

    def __repr__(self) -> str:
        return "<unfinished torch.autograd.profile>" if self._unfinished() else \
            repr(self._finished())

    def __str__(self) -> str:
        return "<unfinished torch.autograd.profile>" if self._unfinished() else \
            str(self._finished())

    def table(self, sort_by: str | None = None, row_limit: int = 100,
              max_src_column_width: int = 75, max_name_column_width: int = 55,
              max_shapes_column_width: int = 80, header: str | None = None,
              top_level_events_only: bool = False) -> str:
        """``EventList.table`` of all events."""
        return self._finished().table(
            sort_by, row_limit, max_src_column_width, max_name_column_width,
            max_shapes_column_width, header, top_level_events_only)

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0,
                     group_by_overload_name: bool = False) -> EventList:
        """``EventList.key_averages`` of all events."""
        return self._finished().key_averages(group_by_input_shape, group_by_stack_n,
                                             group_by_overload_name)

    def total_average(self) -> FunctionEventAvg:
        """``EventList.total_average`` of all events."""
        return self._finished().total_average()

    @property
    def self_cpu_time_total(self) -> float:
        """The microseconds of all events together."""
        return self._finished().self_cpu_time_total

    def export_chrome_trace(self, path: str, metadata: dict[str, str] | None = None) -> None:
        """Write a trace that chrome://tracing, Perfetto and TensorBoard show."""
        if self._unfinished():
            raise AssertionError(NO_RESULTS)
        facts = {"record_shapes": self.record_shapes, "profile_memory": self.profile_memory,
                 "with_stack": self.with_stack, "with_flops": self.with_flops}
        write_trace(path, self.session, facts, metadata or {})

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """``EventList.export_stacks`` of all events; takes ``with_stack=True``."""
        events = self._finished()
        if not self.with_stack:
            raise AssertionError("export_stacks() requires with_stack=True")
        events.export_stacks(path, metric)


def _events_of(session: Session) -> list[FunctionEvent]:
    """The records of a session as events, joined as they ran inside of each other."""
    forward = {r.sequence: r for r in reversed(session.records)
               if r.scope == 0 and r.sequence >= 0}
    events: dict[int, FunctionEvent] = {}
    for at, record in enumerate(session.records, 1):
        events[id(record)] = _event(at, record, session, forward)
    for record in session.records:
        event = events[id(record)]
        if record.parent is not None:
            event.set_cpu_parent(events[id(record.parent)])
        for child in record.children:
            event.append_cpu_child(events[id(child)])
    return list(events.values())


def _event(at: int, record: Record, session: Session, forward: dict[int, Record]) -> FunctionEvent:
    stack = record.stack
    if record.scope == 1 and record.sequence in forward:
        # Where the operation was recorded says more than where backward was called.
        stack = forward[record.sequence].stack
    name = "ProfilerStep*" if record.name.startswith(STEP) else record.name
    return FunctionEvent(
        at, name, session.native_thread, (record.start - session.start_ns) / 1e3,
        (record.end - session.start_ns) / 1e3, input_shapes=record.shapes or [],
        stack=stack or [], scope=record.scope, cpu_memory_usage=_memory(record),
        sequence_nr=record.sequence, flops=record.flops, trace_name=record.name,
        fwd_thread=session.native_thread if record.scope == 1 else None,
        is_user_annotation=record.scope == USER)


def _memory(record: Record) -> int:
    """The bytes of a record and of all that ran inside of it; without recursion."""
    total, pending = 0, [record]
    while pending:
        one = pending.pop()
        total += one.allocated
        pending += one.children
    return total


class record_function:
    """Gives a block, or a function that it decorates, a name that profiles show.

    Where no profile is on it does nothing.

    >>> import flambeau as torch
    >>> with torch.autograd.profiler.profile() as prof:
    ...     with torch.autograd.profiler.record_function("mine"):
    ...         _ = torch.ones(2)
    >>> [event.name for event in prof.function_events]
    ['mine', 'aten::ones']
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args
        self._within: tuple[Session, Record] | None = None

    def __enter__(self) -> record_function:
        session = active()
        if session is not None and session.is_mine() and not session.paused:
            record = session.open(self.name, USER)
            self._within = None if record is None else (session, record)
        return self

    def __exit__(self, *exc: object) -> None:
        within, self._within = self._within, None
        if within is not None:
            session, record = within
            session.close(record)

    def __call__(self, function: _F) -> _F:
        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return named  # type: ignore[return-value]
