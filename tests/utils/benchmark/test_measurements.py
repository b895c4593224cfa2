"""Measurements, their statistics and their tables: PyTorch's text for the same times."""

from __future__ import annotations

import pickle
import re
import time
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from flambeau.utils import benchmark
from flambeau.utils.benchmark import Compare, Language, Measurement, TaskSpec, Timer

STEADY = [1.00e-3, 1.01e-3, 1.02e-3, 1.00e-3, 1.01e-3]
TIMES = {
    "one": [0.00123], "two": [1.5e-6, 2.5e-6], "steady": STEADY, "equal": [3e-5] * 6,
    "varying": [1e-3, 1.1e-3, 1.3e-3, 1.25e-3, 0.9e-3], "wild": [1e-3, 2e-3, 4e-3, 9e-3],
    "fast": [2e-9, 3e-9, 2e-9], "slow": [12.5, 12.75, 13.0, 12.5], "power": [1e-3] * 4,
}
TASKS: dict[str, dict] = {
    "plain": {}, "labelled": {"label": "add", "sub_label": "float", "description": "n=3"},
    "sub-label": {"sub_label": "float"}, "lines": {"stmt": "x = 1\nx + 1"},
    "lines with a sub-label": {"stmt": "x = 1\nx + 1", "sub_label": "int"},
    "setup": {"setup": "x = 1"}, "long setup": {"setup": "x = 1\ny = 2"},
    "threads": {"num_threads": 4}, "described": {"description": "two\nlines"},
}


def measured(t: Any, name: str = "steady", runs: int = 10, **task: Any) -> Any:
    bench = _bench(t)
    spec = bench.TaskSpec(**{"stmt": "x + 1", "setup": "pass", **task})
    return bench.Measurement(runs, [runs * s for s in TIMES[name]], spec)


def _bench(t: Any) -> Any:
    # PyTorch imports the module only when asked to.
    return __import__(f"{t.__name__}.utils.benchmark", fromlist=["Timer"])


def text(value: Any) -> str:
    return re.sub("0x[0-9a-f]+", "0x", str(value)).replace("flambeau", "torch")


@pytest.mark.parity
@pytest.mark.parametrize("times", TIMES)
def test_statistics(times: str, torch_oracle: ModuleType) -> None:
    want, got = measured(torch_oracle, times), measured(fl, times)
    for name in ("median", "mean", "iqr", "significant_figures", "has_warnings", "title",
                 "as_row_name", "env", "times", "num_threads", "stmt"):
        assert getattr(got, name) == pytest.approx(getattr(want, name)), name
    assert got.meets_confidence() == want.meets_confidence()
    assert text(repr(got)) == text(repr(want))


@pytest.mark.parity
@pytest.mark.parametrize("task", TASKS)
def test_text(task: str, torch_oracle: ModuleType) -> None:
    want, got = measured(torch_oracle, **TASKS[task]), measured(fl, **TASKS[task])
    assert text(repr(got)) == text(repr(want))
    assert got.task_spec.summarize() == want.task_spec.summarize()
    assert got.title == want.title and got.setup == want.setup


def _results(t: Any) -> list:
    found = []
    for label in ("mul", None):
        for threads in (1, 4):
            for row, names in (("a", ["steady", "varying", "one"]), ("b", ["two", "wild"])):
                for column, name in zip(("n=1", "n=10", "n=100"), names):
                    found.append(measured(t, name, label=label, sub_label=row, stmt="x\ny",
                                          description=column, num_threads=threads))
    return [*found, measured(t, "equal", label="mul", sub_label="a", description="n=1")]


def _environments(t: Any) -> list:
    return [measured(t, name, label="l", description="d", env=env, stmt=stmt)
            for env in ("old", "newer") for stmt in ("f(x)", "g(x)")
            for name in ("steady", "equal")]


@pytest.mark.parity
@pytest.mark.parametrize("options", [
    (), ("trim_significant_figures",), ("highlight_warnings",), ("colorize",), ("rowwise",),
    ("trim_significant_figures", "highlight_warnings", "colorize")], ids=str)
@pytest.mark.parametrize("results", [_results, _environments])
def test_tables(results: Any, options: tuple, torch_oracle: ModuleType) -> None:
    said = []
    for t in (torch_oracle, fl):
        table = _bench(t).Compare(results(t)[:1])
        table.extend_results(results(t)[1:])
        for option in options:
            table.colorize(rowwise=True) if option == "rowwise" else getattr(table, option)()
        said.append(str(table))
    assert said[1] == said[0]


@pytest.mark.parity
@pytest.mark.parametrize("seconds", [0.0, 3e-10, 1e-9, 9.99e-7, 1e-6, 1e-3, 0.5, 1.0, 100.0])
def test_units(seconds: float, torch_oracle: ModuleType) -> None:
    theirs = _bench(torch_oracle)
    if seconds:
        assert benchmark.select_unit(seconds) == theirs.select_unit(seconds)
        for n in (1, 3):
            assert benchmark.trim_sigfig(seconds, n) == theirs.trim_sigfig(seconds, n)
    assert benchmark.unit_to_english("us") == theirs.unit_to_english("us")


def test_merging() -> None:
    merged = Measurement.merge([measured(fl, "one", 10), measured(fl, "two", 3),
                                measured(fl, "one", stmt="y")])
    assert [m.raw_times for m in merged] == [
        pytest.approx([0.00123, 1.5e-6, 2.5e-6]), pytest.approx([0.00123])]
    assert merged[0].number_per_run == 1


def test_measurements_are_pickled() -> None:
    got = pickle.loads(pickle.dumps(measured(fl)))
    assert got == measured(fl) and got.stmt == "x + 1"
    with pytest.raises(AttributeError, match="'Measurement' object has no attribute 'no'"):
        got.no  # noqa: B018


def test_wrong_results() -> None:
    with pytest.raises(ValueError, match="Expected an instance of `Measurement`, got <class 'int'"):
        Compare([3])  # type: ignore[list-item]


def test_timing(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []
    timer = Timer("calls.append(torch.get_num_threads())", globals={"calls": calls}, label="l",
                  num_threads=2)
    found = timer.timeit(500)
    assert (found.number_per_run, len(found.raw_times), len(calls)) == (500, 1, 505)
    assert set(calls) == {2}
    slow = Timer("\n    sleep(0.002)\n    ", setup="from time import sleep").blocked_autorange(
        min_run_time=0.02)
    assert sum(slow.raw_times) >= 0.02 and 0.002 <= slow.median < 0.02
    assert slow.stmt == "sleep(0.002)"
    Compare([found, slow]).print()
    assert "1 threads: ---" in capsys.readouterr().out


def test_ranges_end() -> None:
    ticks = iter(range(10**6))
    seen: list[tuple] = []
    timer = Timer("pass", timer=lambda: float(next(ticks)))
    found = timer.blocked_autorange(lambda *told: seen.append(told), min_run_time=0.9)
    assert found.raw_times == [1.0] and seen == [(1, 1.0)]
    assert len(timer.adaptive_autorange(max_run_time=2.0).raw_times) == 3
    assert len(timer.adaptive_autorange().raw_times) == 4


def test_threads_are_put_back() -> None:
    before = fl.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        Timer("1 / 0", num_threads=before + 1).timeit(1)
    assert fl.get_num_threads() == before


@pytest.mark.parametrize(("options", "kind", "said"), [
    ({"stmt": time.time}, ValueError, "Currently only a `str` stmt is supported."),
    ({"language": "rust"}, ValueError, "Invalid language `rust`."),
    ({"global_setup": "x"}, ValueError, "global_setup is C\\+\\+ only"),
    ({"language": Language.CPP}, NotImplementedError, "take a compiler"),
    ({"language": "c++"}, NotImplementedError, "take a compiler")])
def test_refused(options: dict, kind: type, said: str) -> None:
    with pytest.raises(kind, match=said):
        Timer(**options)


@pytest.mark.parametrize("name", ["repeat", "autorange"])
def test_what_a_timer_does_not_do(name: str) -> None:
    with pytest.raises(NotImplementedError, match="See `Timer.blocked_autorange.`"):
        getattr(Timer("pass"), name)()


def test_task_of_a_timer() -> None:
    task = TaskSpec("f()", "pass", label="l")
    assert task.title == "l" and task.setup_str() == ""
