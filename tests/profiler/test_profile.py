"""torch.profiler: schedules, steps, traces and what is written of them."""

from __future__ import annotations

import gzip
import importlib
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from flambeau.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)

SCHEDULES: list[dict[str, int]] = [
    {"wait": 1, "warmup": 1, "active": 2}, {"wait": 1, "warmup": 1, "active": 2, "repeat": 1},
    {"wait": 0, "warmup": 0, "active": 1, "repeat": 2}, {"wait": 0, "warmup": 1, "active": 1},
    {"wait": 2, "warmup": 1, "active": 1, "skip_first": 2, "repeat": 2},
    {"wait": 3, "warmup": 1, "active": 2, "skip_first": 1, "skip_first_wait": 1},
    {"wait": 0, "warmup": 0, "active": 4}]


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", SCHEDULES, ids=str)
def test_schedules(options: dict, torch_oracle: ModuleType) -> None:
    theirs = importlib.import_module("torch.profiler").schedule(**options)
    ours = schedule(**options)
    assert [ours(n).name for n in range(20)] == [theirs(n).name for n in range(20)]
    with pytest.raises(AssertionError, match="Step must be non-negative. Got -1."):
        ours(-1)


@pytest.mark.parity
@pytest.mark.parametrize("options", [
    {"wait": -1, "warmup": 0, "active": 1}, {"wait": 0, "warmup": 1, "active": 0}], ids=str)
def test_wrong_schedules(options: dict, torch_oracle: ModuleType) -> None:
    said = []
    for t in (torch_oracle, fl):
        with pytest.raises(AssertionError) as caught:
            importlib.import_module(f"{t.__name__}.profiler").schedule(**options)
        said.append(str(caught.value))
    assert said[0] == said[1]


def _cycles(t: Any, options: dict | None, steps: int, **more: Any) -> list:
    """What is ready when, and what warnings there are."""
    made = importlib.import_module(f"{t.__name__}.profiler")
    seen: list = []

    def ready(prof: Any) -> None:
        seen.append((prof.step_num, [(e.key, e.count) for e in prof.key_averages()
                                     if e.key in ("mine", "ProfilerStep*")]))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plan = made.schedule(**options) if options else None
        with made.profile(activities=[made.ProfilerActivity.CPU], schedule=plan,
                          on_trace_ready=ready, **more) as prof:
            for _ in range(steps):
                with made.record_function("mine"):
                    t.ones(2).exp()
                prof.step()
    return [seen, sorted({str(w.message) for w in caught if "Incorrect" in str(w.message)}),
            prof.current_action.name, prof.step_num]


@pytest.mark.parity
@pytest.mark.parametrize("options", [None, *SCHEDULES], ids=str)
@pytest.mark.parametrize("steps", [3, 7])
def test_cycles(options: dict | None, steps: int, torch_oracle: ModuleType) -> None:
    assert _cycles(fl, options, steps) == _cycles(torch_oracle, options, steps)


@pytest.mark.parity
def test_cycles_that_add_up(torch_oracle: ModuleType) -> None:
    options = {"wait": 0, "warmup": 1, "active": 1, "repeat": 3}
    want, got = (_cycles(t, options, 7, acc_events=True) for t in (torch_oracle, fl))
    assert [sorted(e) for _, e in got[0]] == [sorted(e) for _, e in want[0]]


def test_cleared_events_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="Profiler clears events at the end of each cycle"):
        with profile(schedule=schedule(wait=0, warmup=1, active=1)) as prof:
            for _ in range(5):
                prof.step()


@pytest.mark.parametrize("actions", [["WARMUP", "NONE"], ["RECORD", "NONE"], ["RECORD", "WARMUP"]])
def test_incorrect_schedules(actions: list[str]) -> None:
    plan = [ProfilerAction[name] for name in actions]
    with profile(schedule=lambda step: plan[step]) as prof:
        said = f"Incorrect schedule: {actions[0]} followed by {actions[1]}"
        with pytest.warns(UserWarning, match=said):
            prof.step()


def test_an_action_of_the_profiler_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be returned by a user-provided schedule"):
        profile(schedule=lambda step: ProfilerAction.DEVICE_STOPPED).start()


def _traced() -> profile:
    weight = fl.ones(3, requires_grad=True)
    with profile(record_shapes=True, profile_memory=True, with_stack=True, with_flops=True) as prof:
        with record_function("block"):
            (weight * 2).sum().backward()
        fl.ones(2, 3) @ fl.ones(3, 4)
    return prof


def test_traces(tmp_path: Path) -> None:
    prof = _traced()
    prof.add_metadata("run", 'a "name"')
    prof.add_metadata_json("sizes", "[1, 2]")
    file, packed = tmp_path / "trace.json", tmp_path / "trace.json.gz"
    prof.export_chrome_trace(str(file))
    prof.export_chrome_trace(str(packed))
    content = json.loads(file.read_text())
    with gzip.open(packed, "rt") as unpacked:
        assert len(json.load(unpacked)["traceEvents"]) == len(content["traceEvents"])
    assert content["run"] == 'a "name"' and content["sizes"] == [1, 2]
    assert content["with_stack"] == 1 and content["schemaVersion"] == 1
    spans = {e["name"]: e for e in content["traceEvents"] if e["ph"] == "X"}
    assert spans["block"]["cat"] == "user_annotation" and spans["aten::mul"]["cat"] == "cpu_op"
    assert spans["aten::matmul"]["args"]["Flops"] == 48
    assert spans["aten::matmul"]["args"]["Input Dims"][:2] == [[2, 3], [3, 4]]
    assert "test_profile.py(" in spans["aten::mul"]["args"]["Call stack"]
    inner, outer = spans["aten::mul"], spans["block"]
    assert outer["ts"] <= inner["ts"]
    assert inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"] + 0.01
    arrows = [e for e in content["traceEvents"] if e.get("cat") == "fwdbwd"]
    ends = {e["ph"]: e["ts"] for e in arrows if e["id"] == inner["args"]["Sequence number"]}
    assert ends == {"s": inner["ts"], "f": spans["MulBackward0"]["ts"]}
    sizes = [e["args"]["Bytes"] for e in content["traceEvents"] if e["name"] == "[memory]"]
    assert 12 in sizes and -12 in sizes


def test_tensorboard_handler(tmp_path: Path) -> None:
    for packed in (False, True):
        with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path / "log"), "me", packed)):
            fl.ones(2)
    found = sorted(file.name for file in (tmp_path / "log").iterdir())
    assert len(found) == 2 and all(name.startswith("me.") for name in found)
    assert {name.partition(".pt.trace.")[2] for name in found} == {"json", "json.gz"}
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="Can't create directory"):
        tensorboard_trace_handler(str(tmp_path / "file"))(_traced())


def test_stacks(tmp_path: Path) -> None:
    _traced().export_stacks(str(tmp_path / "stacks.txt"), "self_cpu_time_total")
    lines = (tmp_path / "stacks.txt").read_text().splitlines()
    assert any("_traced" in line and line.rpartition(" ")[2].isdigit() for line in lines)
    with profile() as prof:
        fl.ones(1)
    with pytest.raises(AssertionError, match="requires with_stack=True"):
        prof.export_stacks(str(tmp_path / "x"))


def test_pausing() -> None:
    with profile() as prof:
        fl.ones(1)
        prof.toggle_collection_dynamic(False, [ProfilerActivity.CPU])
        fl.zeros(1)
        prof.toggle_collection_dynamic(True, [ProfilerActivity.CPU])
        fl.arange(2)
    assert [e.name for e in prof.events()] == ["aten::ones", "aten::arange"]


def test_activities() -> None:
    assert supported_activities() == {ProfilerActivity.CPU}
    with pytest.raises(AssertionError, match="No valid profiler activities found"):
        profile(activities=[])
    with pytest.raises(TypeError):
        profile(activities=["cpu"])
    with pytest.raises(ValueError):
        profile(activities=[ProfilerActivity.CPU, {ProfilerActivity.CPU: []}])
    with profile(activities=[ProfilerActivity.CUDA]) as prof:
        fl.ones(1)
    assert len(prof.events()) == 0
    with pytest.warns(FutureWarning, match="`use_cuda` is deprecated"):
        profile(use_cuda=False)


@pytest.mark.parametrize("name", ["events", "key_averages"])
def test_before_it_has_begun(name: str) -> None:
    with pytest.raises(AssertionError, match="Profiler must be initialized before"):
        getattr(profile(), name)()


def test_the_old_profile() -> None:
    old = fl.autograd.profiler.profile
    with old(enabled=False) as off:
        fl.ones(1)
    assert repr(off) == "<unfinished torch.autograd.profile>"
    prof = old()
    assert str(prof) == "<unfinished torch.autograd.profile>"
    with prof:
        fl.ones(1)
    assert "aten::ones" in str(prof) and "aten::ones" in repr(prof)
    assert prof.table(row_limit=1) == prof.function_events.table(row_limit=1)
    assert prof.total_average().key == "Total"
    with pytest.raises(RuntimeError, match="not reentrant"), prof:
        pass
    with pytest.warns(UserWarning, match="CUDA is not available, disabling CUDA profiling"):
        old(use_device="cuda")
