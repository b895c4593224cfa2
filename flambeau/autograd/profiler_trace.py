"""A recording as a file of Chrome's trace format, laid out as PyTorch's."""

from __future__ import annotations

import gzip
import json
import os
import socket
import sys
import time
from typing import Any

from flambeau.autograd.record_session import BACKWARD, FORWARD, USER, Record, Session, clock

__all__ = ["write_trace"]

# Times are told from here, in nanoseconds: in full they do not fit a float.
MONTH_NS = 30 * 24 * 3600 * 10**9
CATEGORIES = {FORWARD: "cpu_op", BACKWARD: "cpu_op", USER: "user_annotation"}


def write_trace(path: str, session: Any, facts: dict[str, bool], metadata: dict[str, str]) -> None:
    """Write a session's trace; compressed where the path ends in ".gz".

    ``facts`` say what was noted; ``metadata`` has texts in JSON that go along.
    """
    content: dict[str, Any] = {"schemaVersion": 1, "deviceProperties": []}
    content |= {name: 1 for name, on in facts.items() if on}
    content |= {name: json.loads(text) for name, text in metadata.items()}
    # What turns the recording's clock into the time of day.
    offset = time.time_ns() - clock()
    base = (session.start_ns + offset) // MONTH_NS * MONTH_NS
    content |= {"host_name": socket.gethostname(), "displayTimeUnit": "ms",
                "baseTimeNanoseconds": base,
                "traceEvents": _Trace(session, offset - base).events(), "traceName": path}
    text = json.dumps(content)
    if path.endswith(".gz"):
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(text)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


class _Trace:
    """The events of a trace: names first, then what ran, arrows to backward, memory."""

    def __init__(self, session: Session, shift: int) -> None:
        self.session = session
        self.shift = shift
        self.pid = os.getpid()

    def _at(self, ns: int) -> float:
        return (ns + self.shift) / 1e3

    def events(self) -> list[dict]:
        """All of them."""
        records = self.session.records
        found = [*self._names(), *[self._span(at, r) for at, r in enumerate(records, 1)]]
        found += self._arrows(records)
        found += [self._memory(*change) for change in self.session.allocations]
        start, end = self.session.start_ns, self.session.stop_ns
        whole = {"ph": "X", "cat": "Trace", "name": "PyTorch Profiler (0)", "pid": "Spans",
                 "tid": "PyTorch Profiler", "ts": self._at(start), "dur": (end - start) / 1e3,
                 "args": {"Op count": len(records)}}
        return [*found, whole,
                {"ph": "i", "s": "g", "name": "Record Window End", "pid": "", "tid": "",
                 "ts": self._at(end)}]

    def _names(self) -> list[dict]:
        start, program = self._at(self.session.start_ns), os.path.basename(sys.executable)
        thread = self.session.native_thread
        return [{"ph": "M", "name": name, "ts": start, "pid": self.pid, "tid": tid, "args": args}
                for name, tid, args in (
                    ("process_name", 0, {"name": program}),
                    ("process_labels", 0, {"labels": "CPU"}),
                    ("process_sort_index", 0, {"sort_index": self.pid}),
                    ("thread_name", thread, {"name": f"thread {thread} ({program})"}),
                    ("thread_sort_index", thread, {"sort_index": thread}))]

    def _span(self, at: int, record: Record) -> dict:
        args: dict[str, Any] = {"External id": at, "Record function id": 0}
        if record.sequence >= 0:
            args |= {"Sequence number": record.sequence,
                     "Fwd thread id": 1 if record.scope == BACKWARD else 0}
        if record.shapes is not None:
            args["Input Dims"] = record.shapes
        if record.flops:
            args["Flops"] = record.flops
        if record.stack:
            args["Call stack"] = ";".join(record.stack)
        return {"ph": "X", "cat": CATEGORIES[record.scope], "name": record.name, "pid": self.pid,
                "tid": self.session.native_thread, "ts": self._at(record.start),
                "dur": (record.end - record.start) / 1e3, "args": args}

    def _arrows(self, records: list[Record]) -> list[dict]:
        """From each operator to its node of backward."""
        forward = {r.sequence: r for r in records if r.scope == FORWARD and r.sequence >= 0}
        found = []
        for record in records:
            source = forward.get(record.sequence)
            if record.scope != BACKWARD or source is None:
                continue
            for phase, end in (("s", source), ("f", record)):
                found.append({"ph": phase, "id": record.sequence, "pid": self.pid,
                              "tid": self.session.native_thread, "ts": self._at(end.start),
                              "cat": "fwdbwd", "name": "fwdbwd", "bp": "e"})
        return found

    def _memory(self, ns: int, size: int, total: int, place: int) -> dict:
        return {"ph": "i", "cat": "cpu_instant_event", "s": "t", "name": "[memory]",
                "pid": self.pid, "tid": self.session.native_thread, "ts": self._at(ns),
                "args": {"Total Reserved": 0, "Total Allocated": total, "Bytes": size,
                         "Device Id": -1, "Device Type": 0, "Addr": place}}
