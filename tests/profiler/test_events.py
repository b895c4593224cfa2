"""Events, their averages and tables: PyTorch's text for the same events."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl

NAMES = ["aten::add", "aten::mm", "ProfilerStep*",
         "a_name_that_is_longer_than_its_column_is_wide_by_far",
         "autograd::engine::evaluate_function: MulBackward0"]


def util(t: Any) -> Any:
    return importlib.import_module(f"{t.__name__}.autograd.profiler_util")


def nested(seed: int, **facts: bool) -> list[dict]:
    """What events of random lengths, inside of each other, are made of."""
    rng = random.Random(seed)
    found: list[dict] = []

    def add(start: float, length: float, depth: int) -> None:
        event = {"id": len(found) + 1, "name": rng.choice(NAMES), "thread": 1 + seed % 2,
                 "start_us": start, "end_us": start + length, "input_shapes": [],
                 "stack": [], "trace_name": "x", "overload_name": ""}
        if facts.get("shapes"):
            event["input_shapes"] = [[rng.randrange(9)] * rng.randrange(3)] * rng.randrange(1, 4)
        if facts.get("stack"):
            event["stack"] = [f"/a/file.py({n}): f{'x' * n}" for n in range(rng.randrange(4))]
        if facts.get("flops"):
            event["flops"] = rng.choice([0, 500, 40_000, 3_000_000])
        if facts.get("memory"):
            event["cpu_memory_usage"] = rng.choice([0, -100, 5000, 3 << 20, 2 << 30])
        found.append(event)
        if depth:
            for part in range(rng.randrange(4)):
                add(start + part * length / 4, length / 5, depth - 1)

    for at in range(3):
        add(2e6 * at, 10.0 ** rng.randrange(1, 7), 3)
    return found


def events(t: Any, seed: int, facts: dict[str, bool]) -> Any:
    made = util(t)
    found = made.EventList([made.FunctionEvent(**one) for one in nested(seed, **facts)],
                           profile_memory=facts.get("memory", False),
                           with_flops=facts.get("flops", False))
    found._build_tree()
    return found


FACTS: list[dict[str, bool]] = [
    {}, {"shapes": True}, {"stack": True}, {"flops": True}, {"memory": True},
    {"shapes": True, "stack": True, "flops": True, "memory": True}]
TABLES: list[dict[str, Any]] = [
    {}, {"sort_by": "self_cpu_time_total"}, {"sort_by": "cuda_time_total", "row_limit": 3},
    {"row_limit": -1, "top_level_events_only": True, "header": "a header"},
    {"time_unit": "ms", "max_name_column_width": 20, "max_shapes_column_width": 12,
     "max_src_column_width": 16}, {"max_name_column_width": None}]


@pytest.mark.parity
@pytest.mark.parametrize("facts", FACTS, ids=lambda facts: "+".join(facts) or "plain")
@pytest.mark.parametrize("seed", range(3))
def test_tables(seed: int, facts: dict, torch_oracle: ModuleType) -> None:
    want, got = (events(t, seed, facts) for t in (torch_oracle, fl))
    for options in TABLES:
        assert got.table(**options) == want.table(**options)
    assert str(got) == str(want)
    assert got.self_cpu_time_total == want.self_cpu_time_total


@pytest.mark.parity
@pytest.mark.parametrize("facts", FACTS, ids=lambda facts: "+".join(facts) or "plain")
@pytest.mark.parametrize("options", [{}, {"group_by_input_shapes": True},
                                     {"group_by_stack_n": 2}], ids=str)
def test_averages(options: dict, facts: dict, torch_oracle: ModuleType) -> None:
    want, got = (events(t, 1, facts).key_averages(**options) for t in (torch_oracle, fl))
    assert got.table(sort_by="count") == want.table(sort_by="count")
    assert [repr(e) for e in got] == [repr(e) for e in want]
    assert [e.count for e in got] == [e.count for e in want]


@pytest.mark.parity
def test_single_events(torch_oracle: ModuleType) -> None:
    want, got = (events(t, 2, {"memory": True}) for t in (torch_oracle, fl))
    assert [repr(e) for e in got] == [repr(e) for e in want]
    for name in ("cpu_time", "cpu_time_str", "self_cpu_time_total", "self_cpu_memory_usage", "key",
                 "device_time_total", "self_device_time_total_str", "count"):
        assert [getattr(e, name) for e in got] == [getattr(e, name) for e in want], name
    assert repr(got.total_average()) == repr(want.total_average())
    with pytest.warns(FutureWarning):
        assert got[0].cuda_time_total == 0


@pytest.mark.parity
def test_files(tmp_path: Path, torch_oracle: ModuleType) -> None:
    want, got = (events(t, 1, {"stack": True}) for t in (torch_oracle, fl))
    for name, one in (("want", want), ("got", got)):
        one.export_chrome_trace(str(tmp_path / f"{name}.json"))
        one.export_stacks(str(tmp_path / f"{name}.txt"), "self_cpu_time_total")
    for kind in ("json", "txt"):
        texts = [(tmp_path / f"{name}.{kind}").read_text() for name in ("want", "got")]
        assert json.loads(texts[0]) == json.loads(texts[1]) if kind == "json" else \
            texts[0] == texts[1]
    with pytest.raises(ValueError, match="metric should be one of"):
        got.export_stacks(str(tmp_path / "x"), "time")


def test_nothing() -> None:
    assert util(fl).EventList().table() == ""


def test_averages_of_different_keys_are_not_mixed() -> None:
    first, *rest = events(fl, 0, {})
    other = next(e for e in rest if e.key != first.key)
    average = util(fl).FunctionEventAvg().add(first)
    with pytest.raises(AssertionError, match="Expected keys to match"):
        average.add(other)
