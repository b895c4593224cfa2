"""The table of a profile: a row per event, or per group of events alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flambeau.autograd.profiler_util import format_time

__all__ = ["Table"]

WIDTH = 12
GAP = "  "
FLOPS = ["FLOPs", "KFLOPs", "MFLOPs", "GFLOPs", "TFLOPs", "PFLOPs"]
UNITS = {"s": 1e6, "ms": 1e3, "us": 1}


class Table:
    """Columns of the events' facts, those that no event has left out."""

    def __init__(self, events: Sequence[Any], row_limit: int | None, source_width: int | None,
                 name_width: int | None, shapes_width: int | None, with_flops: bool,
                 with_memory: bool, top_only: bool, unit: str | None) -> None:
        self.events = events
        self.row_limit = row_limit
        self.name_limit = name_width
        self.top_only = top_only
        self.unit = unit
        self.total = sum([event.self_cpu_time_total for event in events])
        self.with_memory = with_memory
        self.overloads = any(event.overload_name for event in events)
        self.nodes = any(event.node_id != -1 for event in events)
        self.shapes = any(event.input_shapes for event in events)
        self.stacks = [event.stack for event in events if event.stack]
        flops = [event.flops for event in events if with_flops and (event.flops or 0) > 0]
        self.flops_power = _power(min(flops)) if flops else None
        if events:
            self._measure(source_width, shapes_width)

    def _measure(self, source_width: int | None, shapes_width: int | None) -> None:
        """The widths of the columns that are as wide as their content, up to a limit."""
        self.name_width = _at_most(max(len(event.key) for event in self.events) + 4,
                                   self.name_limit)
        self.shapes_width = _at_most(
            max(len(str(event.input_shapes)) for event in self.events) + 4, shapes_width)
        longest = max([len(call) for stack in self.stacks for call in stack], default=0)
        self.source_width = _at_most(longest + 4, source_width)

    def _columns(self) -> list[tuple[str, int, str]]:
        """Heading, width and alignment of each column."""
        wide = [("Name", self.name_width)]
        if self.overloads:
            wide.append(("Overload Name", self.name_width))
        plain = ["Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"]
        plain += ["CPU Mem", "Self CPU Mem"] * self.with_memory
        plain += ["# of Calls"] + ["Node ID"] * self.nodes
        columns = [(name, width, ">") for name, width in wide]
        columns += [(name, WIDTH, ">") for name in plain]
        if self.shapes:
            columns.append(("Input Shapes", self.shapes_width, ">"))
        # The calls stand last but for the flops, whose cells PyTorch writes in front of them.
        if self.stacks:
            columns.append(("Source Location", self.source_width, "<"))
        if self.flops_power is not None:
            columns.append((f"Total {FLOPS[self.flops_power]}", WIDTH, ">"))
        return columns

    def text(self, header: str | None) -> str:
        """All of it; nothing where there are no events."""
        if not self.events:
            return ""
        columns = self._columns()
        rule = "".join(["-" * width + GAP for _, width, _ in columns])
        line = "=" * (len(rule) - len(GAP))

        def row(cells: Sequence[Any]) -> str:
            return "".join([f"{cell!s:{side}{width}}" + GAP
                            for cell, (_, width, side) in zip(cells, columns)])

        lines = [] if header is None else [line, header]
        if self.top_only:
            lines += [line, "This report only display top-level ops statistics"]
        lines += [rule, row([name for name, _, _ in columns]), rule]
        shown = [event for event in self.events
                 if not self.top_only or event.cpu_parent is None]
        for event in shown if self.row_limit == -1 else shown[:self.row_limit]:
            lines.append(row(self._cells(event)))
            if self.stacks:
                blank = [""] * (len(columns) - 1)
                lines += [row([*blank, self._trimmed(call)]) for call in (event.stack or [])[1:]]
                lines.append(row([*blank, ""]))
        lines += [rule, f"Self CPU time total: {self._time(self.total)}"]
        return "".join([line + "\n" for line in lines])

    def _cells(self, event: Any) -> list[Any]:
        cells = [self._name(event.key)]
        if self.overloads:
            cells.append(self._name(event.overload_name))
        event.self_cpu_percent = self._share(event.self_cpu_time_total)
        event.total_cpu_percent = 0 if event.is_async else self._share(event.cpu_time_total)
        cells += [event.self_cpu_percent, self._time(event.self_cpu_time_total),
                  event.total_cpu_percent, self._time(event.cpu_time_total),
                  self._time(event.cpu_time)]
        if self.with_memory:
            cells += [_memory(event.cpu_memory_usage), _memory(event.self_cpu_memory_usage)]
        cells.append(event.count)
        if self.nodes:
            cells.append(event.node_id)
        if self.shapes:
            cells.append(str(event.input_shapes)[:self.shapes_width])
        if self.flops_power is not None:
            flops = event.flops or 0
            cells.append(f"{flops * 10.0 ** (-3 * self.flops_power):8.3f}" if flops > 0 else "--")
        if self.stacks:
            cells.append(self._trimmed(event.stack[0]) if event.stack else "")
        return cells

    def _name(self, name: str) -> str:
        limit = self.name_limit
        if limit is not None and len(name) >= limit - 3:
            return name[:limit - 3] + "..."
        return name

    def _trimmed(self, call: str) -> str:
        """The end of a call's text, which says most."""
        excess = len(call) - self.source_width
        if excess <= 0:
            return call
        call = call[excess:]
        return "..." + call[3:] if len(call) > 3 else call

    def _time(self, time_us: float) -> str:
        if self.unit not in UNITS:
            return format_time(time_us)
        return f"{time_us / UNITS[self.unit]:.3f}{self.unit}"

    def _share(self, time_us: float) -> str:
        if self.total == 0:
            if time_us != 0:
                raise AssertionError(f"Expected time_us == 0 but got {time_us}")
            return "NaN"
        return f"{time_us * 100.0 / self.total:.2f}%"


def _at_most(width: int, limit: int | None) -> int:
    return width if limit is None else min(width, limit)


def _power(flops: float) -> int:
    """The power of a thousand that numbers of this size are told in."""
    return int(max(0, min(math.log10(flops) / 3, len(FLOPS) - 1)))


def _memory(count: float) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if abs(count) >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
