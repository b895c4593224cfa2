"""Recording: what runs shows in order and nested, changes no result, and leaves nothing behind."""

from __future__ import annotations

import inspect
import os
import threading
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from flambeau import nn
from flambeau.autograd.profiler import EventList, profile, record_function
from flambeau.autograd.record_session import active
from flambeau.core import dispatch, engine
from flambeau.core.exchange import Exchange
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from tests.ops import checks
from tests.ops.samples import SAMPLES


def names(events: EventList, within: Any = None) -> list[str]:
    return [event.name for event in events if event.cpu_parent is within]


def tree(events: EventList, within: Any = None) -> list:
    return [(e.name, tree(events, e)) if e.cpu_children else e.name
            for e in events if e.cpu_parent is within]


def codes() -> dict[int, Any]:
    held = [*FACES["torch"].values(), *FACES["nn.functional"].values(), *vars(Tensor).values(),
            dispatch.apply, engine.gather, engine._Task.plain_loop]
    return {id(f): f.__code__ for f in held if isinstance(f, FunctionType)}


def test_operators_in_order() -> None:
    x = fl.ones(2, 3)
    with profile() as prof:
        y = x + 1
        y *= 2
        nn.functional.relu(y.t() @ x)
        y.sum(dim=0)[1].item()
    assert names(prof.function_events)[:5] == [
        "aten::add", "aten::mul_", "aten::t", "aten::matmul", "aten::relu"]
    assert "aten::sum" in names(prof.function_events)


def test_forward_and_backward() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = fl.ones(2, 3)
    with profile() as prof:
        model(x).sum().backward()
    found = tree(prof.function_events)
    assert found[:4] == ["aten::linear", "aten::tanh", "aten::linear", "aten::sum"]
    node = "autograd::engine::evaluate_function: TanhBackward0"
    assert (node, ["TanhBackward0"]) in found
    leaf = "torch::autograd::AccumulateGrad"
    assert found.count((f"autograd::engine::evaluate_function: {leaf}", [leaf])) == 4
    forward = {e.sequence_nr: e for e in prof.function_events if e.scope == 0}
    tanh = next(e for e in prof.function_events if e.name == "TanhBackward0")
    assert forward[tanh.sequence_nr].name == "aten::tanh" and tanh.scope == 1


def test_times_lie_inside_of_each_other() -> None:
    with profile() as prof, record_function("outer"):
        for _ in range(3):
            nn.functional.cross_entropy(fl.rand(4, 5), fl.tensor([0, 1, 2, 3]))
    for event in prof.function_events:
        parent = event.cpu_parent
        if parent is not None:
            assert parent.time_range.start <= event.time_range.start
            assert event.time_range.end <= parent.time_range.end
        assert event.self_cpu_time_total >= 0
    total = prof.function_events[0].cpu_time_total
    assert prof.self_cpu_time_total == pytest.approx(total, rel=1e-6)


def test_blocks_with_names() -> None:
    @record_function("decorated")
    def double(x: Any) -> Any:
        return x * 2

    assert double(fl.ones(1)).item() == 2
    with profile() as prof:
        with record_function("outer"), record_function("inner"):
            double(fl.ones(1))
        with pytest.raises(ValueError), record_function("failing"):
            raise ValueError
        fl.ones(1)
    assert tree(prof.function_events) == [
        ("outer", [("inner", ["aten::ones", ("decorated", ["aten::mul"])])]), "failing",
        "aten::ones"]
    assert [e.is_user_annotation for e in prof.function_events][:2] == [True, True]


def test_optimizers_and_loaders() -> None:
    from flambeau.optim import SGD
    from flambeau.utils.data import DataLoader

    weight = nn.Parameter(fl.ones(2))
    optimizer = SGD([weight], lr=0.1)
    with profile() as prof:
        for x in DataLoader(range(2)):
            optimizer.zero_grad()
            (weight * x).sum().backward()
            optimizer.step()
    counts = {e.key: e.count for e in prof.key_averages()}
    assert counts["Optimizer.step#SGD.step"] == 2
    assert counts["Optimizer.zero_grad#SGD.zero_grad"] == 2
    assert counts["enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"] == 3


def test_all_is_as_before_afterwards() -> None:
    before = codes()
    with pytest.raises(RuntimeError), profile(profile_memory=True, with_stack=True):
        assert codes() != before
        fl.ones(2) @ fl.ones(3)
    assert codes() == before
    with profile() as outer:
        with pytest.raises(RuntimeError, match="Profiler is already enabled on this thread"):
            with profile():
                pass
        fl.ones(1)
    assert names(outer.function_events) == ["aten::ones"]
    assert codes() == before


def test_other_threads_are_not_recorded() -> None:
    with profile() as prof:
        thread = threading.Thread(target=lambda: [fl.ones(3).exp(), record_function("x")])
        thread.start()
        thread.join()
        fl.zeros(1)
    assert names(prof.function_events) == ["aten::zeros"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_forked_processes_are_not_recorded() -> None:
    from flambeau.utils.data import DataLoader

    class Asking:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> bool:
            return active() is None and fl.exp.__code__.co_filename.endswith("py")

    with profile() as prof:
        found = list(DataLoader(Asking(), num_workers=2, multiprocessing_context="fork"))
    assert [bool(x) for x in found] == [True] * 4
    counts = {e.key: e.count for e in prof.key_averages()}
    assert counts["enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"] == 5


def test_files_that_are_imported_meanwhile(python: Any) -> None:
    said = python("-c", "import flambeau as t\n"
                  "with t.autograd.profiler.profile() as prof:\n"
                  "    t.linalg.qr(t.eye(2))\n"
                  "print([e.name for e in prof.function_events if e.cpu_parent is None])")
    assert "aten::linalg_qr" in said.stdout, said.stderr


def test_shapes_stacks_and_memory() -> None:
    x = fl.ones(4, 8)
    with profile(record_shapes=True, with_stack=True, profile_memory=True) as prof:
        with record_function("block"):
            y = fl.add(x, x)
            z = y.t().exp()
            del y
    block, add, t, exp = prof.function_events
    assert add.input_shapes[:2] == [[4, 8], [4, 8]] and exp.input_shapes == [[8, 4]]
    assert "test_recording.py(" in add.stack[0]
    assert add.stack[0].endswith("shapes_stacks_and_memory")
    assert [e.cpu_memory_usage for e in (add, t, exp)] == [128, 0, 128]
    assert block.cpu_memory_usage == 256 - 128 and block.self_cpu_memory_usage == -128
    assert z.shape == (8, 4)


@pytest.mark.parity
def test_flops(torch_oracle: ModuleType) -> None:
    def run(t: Any) -> Any:
        f = t.nn.functional
        a, b = t.ones(3, 4), t.ones(4, 5)
        with t.autograd.profiler.profile(with_flops=True) as prof:
            t.mm(a, b)
            a @ b
            t.bmm(t.ones(2, 3, 4), t.ones(2, 4, 5))
            t.addmm(t.ones(3, 5), a, b)
            f.linear(a, t.ones(6, 4), t.ones(6))
            f.conv2d(t.ones(2, 4, 8, 8), t.ones(6, 2, 3, 3), stride=2, groups=2)
            a + a
            a * a
        return sum(e.flops or 0 for e in prof.function_events)

    torch_oracle.backends.mkldnn.is_available()
    assert run(fl) == run(torch_oracle)


# What these hold is not initialised.
LEFT_OUT = {"empty", "empty_like", "empty_permuted", "empty_strided", "Tensor.new_empty",
            "new_empty", "new_empty_strided", "resize_"}


def _differentiable(array: np.ndarray) -> Tensor:
    return fl.from_numpy(np.array(array)).requires_grad_(array.dtype.kind in "fc")


def _outcome(name: str, sample: Any) -> str:
    """The result of a sample's call and the gradients of what it was given, as text."""
    fl.manual_seed(0)
    made: list[Tensor] = []

    def make(array: np.ndarray) -> Tensor:
        made.append(_differentiable(array) if sample.grad else fl.from_numpy(np.array(array)))
        return made[-1]

    try:
        result = checks.run(checks.resolve(name), sample, make)
        for t in checks.tensors_in(result):
            if t.requires_grad and not t.is_complex():
                t.sum().backward(retain_graph=True)
                break
        return repr((result, [t.grad if t.is_leaf else None for t in made]))
    except Exception as error:
        return repr((type(error), str(error).splitlines()[:1]))


@pytest.mark.filterwarnings("ignore")
def test_results_are_the_same() -> None:
    chosen = [(name, sample) for name in sorted(set(SAMPLES) - LEFT_OUT)
              for sample in SAMPLES[name][:1]]
    plain = [_outcome(*one) for one in chosen]
    with profile(record_shapes=True) as prof:
        recorded = [_outcome(*one) for one in chosen]
    for (name, _), want, got in zip(chosen, plain, recorded):
        assert got == want, name
    assert len(prof.function_events) > len(chosen)


def test_exchanged_code_keeps_its_parameters() -> None:
    free = 3

    def f(a: int, /, b: int = 2, *rest: int, c: int = 4, **more: int) -> tuple:
        """A function with every kind of parameter, and a free variable."""
        return a, b, rest, c, more, free

    calls = []
    code = f.__code__
    exchange = Exchange(f, lambda original: lambda *a, **k: (calls.append((a, k)),
                                                             original(*a, **k))[1])
    names_of, count = f.__code__.co_varnames, f.__code__.co_argcount
    assert names_of[:5] == code.co_varnames[:5] and count == code.co_argcount
    assert inspect.signature(f) == inspect.signature(exchange.function)
    assert f(1) == (1, 2, (), 4, {}, 3)
    assert f(1, 5, 6, c=7, d=8) == (1, 5, (6,), 7, {"d": 8}, 3)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        f()  # type: ignore[call-arg]
    assert calls == [((1, 2), {"c": 4}), ((1, 5, 6), {"c": 7, "d": 8})]
    exchange.undo()
    assert f.__code__ is code and f(1) == (1, 2, (), 4, {}, 3) and len(calls) == 2


def test_spellings_and_out_while_recording() -> None:
    with profile():
        out = fl.empty(2)
        assert fl.sum(fl.ones(3, 2), axis=0, out=out) is out
        assert fl.stack((fl.ones(1), fl.zeros(1)), dim=1).tolist() == [[1, 0]]
        with pytest.raises(TypeError):
            fl.exp()  # type: ignore[call-arg]
    assert out.tolist() == [3, 3]
