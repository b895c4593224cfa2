"""Events of a profile: single ones, averages of those alike, lists of them, and their text."""

from __future__ import annotations

import enum
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["DeviceType", "EventList", "FunctionEvent", "FunctionEventAvg", "Interval"]

STACK_METRICS = ["self_cpu_time_total", "self_cuda_time_total", "self_xpu_time_total",
                 "self_privateuse1_time_total"]


class DeviceType(enum.Enum):
    """Where an event ran."""

    CPU = 0
    CUDA = 1
    XPU = 12
    HPU = 17
    MTIA = 19
    PrivateUse1 = 20


class Interval:
    """From ``start`` to ``end``, in microseconds."""

    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.end = end

    def elapsed_us(self) -> float:
        """The length."""
        return self.end - self.start


def format_time(time_us: float) -> str:
    """Microseconds with the unit that suits them.

    >>> format_time(2500)
    '2.500ms'
    """
    if time_us >= 1e6:
        return f"{time_us / 1e6:.3f}s"
    return f"{time_us / 1e3:.3f}ms" if time_us >= 1e3 else f"{time_us:.3f}us"


def _old_name(name: str) -> property:
    """``cuda_...``, from before there were other accelerators; it warns."""
    new = name.replace("cuda", "device")

    def get(self: Any) -> Any:
        warnings.warn(f"`{name}` is deprecated, please use `{new}` instead.", FutureWarning,
                      stacklevel=2)
        return getattr(self, new)

    return property(get)


def _text_of(name: str) -> property:
    return property(lambda self: format_time(getattr(self, name)))


class _Times:
    """What single events and averages share: times per call, and times as text."""

    count: int
    cpu_time_total: float
    # There is no other device than the CPU.
    device_time_total: float = 0
    self_device_time_total: float = 0
    device_memory_usage = 0
    self_device_memory_usage = 0
    cpu_time_str = _text_of("cpu_time")
    cpu_time_total_str = _text_of("cpu_time_total")
    self_cpu_time_total_str = _text_of("self_cpu_time_total")
    device_time_str = _text_of("device_time")
    device_time_total_str = _text_of("device_time_total")
    self_device_time_total_str = _text_of("self_device_time_total")
    cuda_time, cuda_time_total = _old_name("cuda_time"), _old_name("cuda_time_total")
    self_cuda_time_total = _old_name("self_cuda_time_total")
    self_cuda_memory_usage = _old_name("self_cuda_memory_usage")

    @property
    def cpu_time(self) -> float:
        """Microseconds per call."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def device_time(self) -> float:
        """Microseconds per call on an accelerator."""
        return self.device_time_total / self.count if self.count else 0.0


class FunctionEvent(_Times):
    """One run of an operator, of a node of backward, or of a block with a name.

    Times are in microseconds since the profile began; ``cpu_parent`` and ``cpu_children`` are what
    it ran inside of, and what ran inside of it.
    """

    def __init__(self, id: int, name: str, thread: int, start_us: float, end_us: float,
                 overload_name: str = "", fwd_thread: int | None = None,
                 input_shapes: Any = None, stack: list[str] | None = None, scope: int = 0,
                 use_device: str | None = None, cpu_memory_usage: int = 0,
                 is_async: bool = False, is_remote: bool = False, sequence_nr: int = -1,
                 node_id: int = -1, device_type: DeviceType = DeviceType.CPU,
                 device_index: int = 0, is_legacy: bool = False, flops: int | None = None,
                 trace_name: str | None = None, concrete_inputs: Any = None,
                 is_user_annotation: bool = False) -> None:
        self.id = id
        self.name = name
        self.thread = thread
        self.time_range = Interval(start_us, end_us)
        self.overload_name = overload_name
        self.trace_name = trace_name
        self.fwd_thread = fwd_thread
        self.input_shapes = input_shapes
        self.concrete_inputs = concrete_inputs
        self.stack = stack
        self.scope = scope
        self.use_device = use_device
        self.cpu_memory_usage = cpu_memory_usage
        self.is_async = is_async
        self.is_remote = is_remote
        self.sequence_nr = sequence_nr
        self.node_id = node_id
        self.device_type = device_type
        self.device_index = device_index
        self.device_resource_id = thread
        self.is_legacy = is_legacy
        self.is_user_annotation = is_user_annotation
        self.flops = flops
        self.count = 1
        self.kernels: list[Any] = []
        self.cpu_parent: FunctionEvent | None = None
        self.cpu_children: list[FunctionEvent] = []

    @property
    def key(self) -> str:
        """What events are grouped by."""
        return self.name

    @property
    def cpu_time_total(self) -> float:  # type: ignore[override]
        """Microseconds from beginning to end."""
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds outside of its children."""
        if self.is_async:
            return 0
        return self.cpu_time_total - sum([child.cpu_time_total for child in self.cpu_children])

    @property
    def self_cpu_memory_usage(self) -> int:
        """Bytes that it took itself, less those that it freed."""
        if self.is_async:
            return 0
        return self.cpu_memory_usage - sum([c.cpu_memory_usage for c in self.cpu_children])

    def append_cpu_child(self, child: FunctionEvent) -> None:
        """Note what ran directly inside of it."""
        self.cpu_children.append(child)

    def set_cpu_parent(self, parent: FunctionEvent) -> None:
        """Note what it ran directly inside of."""
        self.cpu_parent = parent

    def __repr__(self) -> str:
        device = self.use_device
        return (
            f"<FunctionEvent id={self.id} name={self.name} overload_name={self.overload_name} "
            f"device_type={self.device_type} node_id={self.node_id} cpu_time={self.cpu_time_str} "
            f"start_us={self.time_range.start} end_us={self.time_range.end} "
            f"cpu_children={[child.id for child in self.cpu_children]} "
            f"{device}_time={self.device_time_str} "
            f"name={self.name} thread={self.thread} input_shapes={self.input_shapes} "
            f"cpu_memory_usage={self.cpu_memory_usage} "
            f"{device}_memory_usage={self.device_memory_usage} "
            f"is_async={self.is_async} is_remote={self.is_remote} seq_nr={self.sequence_nr} "
            f"is_legacy={self.is_legacy}>")


class FunctionEventAvg(_Times):
    """The sums of events of one key; ``count`` says of how many."""

    _ONCE = ("node_id", "is_async", "is_remote", "cpu_parent", "cpu_children", "overload_name",
             "input_shapes", "stack", "scope", "device_type", "is_legacy", "use_device",
             "is_user_annotation")
    _SUMS = ("cpu_time_total", "self_cpu_time_total", "cpu_memory_usage", "self_cpu_memory_usage",
             "count")

    def __init__(self) -> None:
        self.key: str | None = None
        self.count = 0
        self.node_id = 0
        self.is_async = self.is_remote = self.is_legacy = self.is_user_annotation = False
        self.use_device: str | None = None
        self.cpu_time_total = 0.0
        self.self_cpu_time_total = 0.0
        self.cpu_memory_usage = 0
        self.self_cpu_memory_usage = 0
        self.input_shapes: Any = None
        self.overload_name: str | None = None
        self.stack: list[str] | None = None
        self.scope: int | None = None
        self.cpu_children: list[FunctionEvent] | None = None
        self.cpu_parent: FunctionEvent | None = None
        self.device_type = DeviceType.CPU
        self.flops = 0

    def add(self, other: FunctionEvent | FunctionEventAvg) -> FunctionEventAvg:
        """Add an event, or another average, of the same key; returns self."""
        if self.key is None:
            self.key = other.key
            for name in self._ONCE:
                setattr(self, name, getattr(other, name))
        if not isinstance(other, (FunctionEvent, FunctionEventAvg)):
            raise AssertionError("Expected other to be a FunctionEvent or FunctionEventAvg")
        if other.key != self.key:
            raise AssertionError(f"Expected keys to match, but got {other.key} vs {self.key}")
        for name in self._SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.flops += other.flops or 0
        return self

    __iadd__ = add

    def __repr__(self) -> str:
        device = self.use_device or "cuda"
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str}  self_{device}_time={self.self_device_time_total_str} "
            f"{device}_time={self.device_time_str} input_shapes={self.input_shapes} "
            f"cpu_memory_usage={self.cpu_memory_usage} "
            f"{device}_memory_usage={self.device_memory_usage}>")


class EventList(list):
    """Events, and what can be made of them: averages, a table, files for viewers."""

    def __init__(self, events: Iterable = (), *, use_device: str | None = None,
                 profile_memory: bool = False, with_flops: bool = False) -> None:
        super().__init__(events)
        self._use_device = use_device
        self._profile_memory = profile_memory
        self._with_flops = with_flops
        self._tree_built = False

    def _like(self, events: Iterable) -> EventList:
        return EventList(events, use_device=self._use_device,
                         profile_memory=self._profile_memory, with_flops=self._with_flops)

    def _build_tree(self) -> None:
        """Find out from the times what ran inside of what."""
        by_thread: dict[tuple, list[FunctionEvent]] = {}
        for event in self:
            if not event.is_async:
                by_thread.setdefault((event.thread, event.node_id), []).append(event)
        for events in by_thread.values():
            _nest(events)
        doubled = {id(child) for event in self for child in _taken_over(event)}
        self[:] = [event for event in self if id(event) not in doubled]
        self._tree_built = True

    def __str__(self) -> str:
        return self.table()

    @property
    def self_cpu_time_total(self) -> float:
        """The sum of the times that events spent outside of their children."""
        return sum([event.self_cpu_time_total for event in self])

    def table(self, sort_by: str | None = None, row_limit: int = 100,
              max_src_column_width: int | None = 75, max_name_column_width: int | None = 55,
              max_shapes_column_width: int | None = 80, header: str | None = None,
              top_level_events_only: bool = False, time_unit: str | None = None) -> str:
        """The events as a table, the greatest ``sort_by`` (an attribute, such as
        "cpu_time_total") first; ``time_unit`` is "s", "ms" or "us".
        """
        # A profile that nobody prints needs no table.
        from flambeau.autograd.profiler_table import Table

        events: Sequence[Any] = self
        if sort_by is not None:
            for device in ("cuda", "xpu", "privateuse1"):
                sort_by = sort_by.replace(device, "device")
            events = sorted(self, key=lambda event: getattr(event, sort_by), reverse=True)
        return Table(events, row_limit, max_src_column_width, max_name_column_width,
                     max_shapes_column_width, self._with_flops, self._profile_memory,
                     top_level_events_only, time_unit).text(header)

    def key_averages(self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0,
                     group_by_overload_name: bool = False) -> EventList:
        """The events summed up by name, and by input shapes and by innermost calls if asked."""
        groups: dict[tuple, FunctionEventAvg] = {}
        for event in self:
            key: list[Any] = [event.key, event.node_id, event.device_type, event.is_legacy,
                              event.is_user_annotation]
            if group_by_overload_name:
                key.append(event.overload_name)
            if group_by_input_shapes:
                key.append(str(event.input_shapes))
            key += (event.stack or [])[:group_by_stack_n]
            groups.setdefault(tuple(key), FunctionEventAvg()).add(event)
        for average in groups.values():
            average.stack = (average.stack or [])[:group_by_stack_n]
            if not group_by_input_shapes:
                average.input_shapes = ""
            if not group_by_overload_name:
                average.overload_name = ""
        return self._like(groups.values())

    def total_average(self) -> FunctionEventAvg:
        """All events as one, with the key "Total"."""
        total = FunctionEventAvg()
        for event in self:
            total.key = None
            total.add(event)
        total.key = "Total"
        return total

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for Chrome's chrome://tracing."""
        shown = [{"name": event.trace_name, "ph": "X", "ts": event.time_range.start,
                  "dur": event.time_range.elapsed_us(), "tid": event.thread,
                  "pid": "CPU functions", "args": {}}
                 for event in self if event.trace_name is not None]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(shown, file)

    def supported_export_stacks_metrics(self) -> list[str]:
        """What ``export_stacks`` can count."""
        return list(STACK_METRICS)

    def export_stacks(self, path: str, metric: str) -> None:
        """Write one line per event, its calls and its ``metric``, as flame graphs are made of."""
        if metric not in STACK_METRICS:
            raise ValueError(f"metric should be one of: {STACK_METRICS}")
        for device in ("cuda", "xpu", "privateuse1"):
            metric = metric.replace(device, "device")
        plain = str.maketrans(" ;\t\n", "____")
        with open(path, "w", encoding="utf-8") as file:
            for event in self:
                value = int(getattr(event, metric))
                if event.stack and value > 0:
                    calls = ";".join([call.translate(plain) for call in reversed(event.stack)])
                    file.write(f"{calls} {value}\n")


def _nest(events: list[FunctionEvent]) -> None:
    """Join events of one thread to trees: an event is inside of the last one still going on."""
    going: list[FunctionEvent] = []
    for event in sorted(events, key=lambda e: (e.time_range.start, -e.time_range.end)):
        while going and (event.time_range.start >= going[-1].time_range.end
                         or event.time_range.end > going[-1].time_range.end):
            going.pop()
        if going:
            going[-1].append_cpu_child(event)
            event.set_cpu_parent(going[-1])
        going.append(event)


def _taken_over(event: FunctionEvent) -> Iterator[FunctionEvent]:
    """Only children of the event's own name: what ran inside of them becomes its children."""
    while len(event.cpu_children) == 1 and event.cpu_children[0].name == event.name:
        child = event.cpu_children[0]
        event.cpu_children = child.cpu_children
        for grandchild in child.cpu_children:
            grandchild.cpu_parent = event
        yield child
