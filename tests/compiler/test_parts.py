"""Steps that read values, print, or branch on data half-way: parts of them run compiled."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiler.entry import unit_of
from tests.compiler.harness import check

F = nn.functional


def ran(wrap: Any) -> int:
    """How often parts ran without Python."""
    return sum([unit_of(f).parts.runs for f in wrap.made if unit_of(f).parts is not None])


def small(dropout: float = 0.0) -> Any:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def batch() -> tuple:
    return torch.randn(12, 6), torch.randint(0, 3, (12,))


def in_parts(body: Callable, least: int = 20, **options: Any) -> Any:
    """``body(net, optimizer, log)`` gives a step; it is compared with itself, eager."""
    def build(wrap: Any) -> tuple:
        net = small()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        log: list[Any] = []
        x, y = batch()
        step = wrap(body(net, optimizer, log))
        return lambda i: step(x + i / 10, y), lambda: (list(net.state_dict().values()), log)

    wrap = check(build, compiled=False, warns=True, **options)
    assert ran(wrap) >= least, str(torch.compiler.explain(wrap.made[0]))
    return wrap


def test_best_loss_between_backward_and_step() -> None:
    def body(net: Any, optimizer: Any, log: list) -> Any:
        best = float("inf")

        def step(x: Any, y: Any) -> Any:
            nonlocal best
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            if loss.item() < best:
                best = loss.item()
            log.append(best)
            optimizer.step()
            return loss

        return step

    in_parts(body, 30)


def test_printed_loss_and_scaled_gradients(capsys: pytest.CaptureFixture) -> None:
    def body(net: Any, optimizer: Any, log: list) -> Any:
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            print(f"loss {loss.item():.4f}")
            norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
            if norm > 0.5:
                for p in net.parameters():
                    p.grad.mul_(0.5 / norm)
                log.append("scaled")
            optimizer.step()
            return loss

        return step

    in_parts(body, 36)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 40 and lines[:20] == lines[20:]


def test_printed_before_backward(capsys: pytest.CaptureFixture) -> None:
    def body(net: Any, optimizer: Any, log: list) -> Any:
        def step(x: Any, y: Any) -> Any:
            loss = F.cross_entropy(net(x), y)
            print(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    in_parts(body, 30)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 40
    assert [s[:12] for s in lines[:20]] == [s[:12] for s in lines[20:]]


def test_early_exit() -> None:
    def body(net: Any, optimizer: Any, log: list) -> Any:
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            if loss.item() < 1.0:
                log.append("done")
                return loss
            loss.backward()
            optimizer.step()
            return loss, "more"

        return step

    in_parts(body, 20)


def test_a_loop_as_long_as_the_data_say() -> None:
    def body(net: Any, optimizer: Any, log: list) -> Any:
        def step(x: Any, y: Any) -> Any:
            h = x.abs().sum(1, keepdim=True)
            rounds = 0
            while h.max() > 1:
                h = h / 2 + 0.01 * torch.sin(h)
                rounds += 1
            log.append(rounds)
            return (h * x).tanh().mean()

        return step

    in_parts(body, 40)


def test_numpy_in_the_middle() -> None:
    def body(net: Any, optimizer: Any, log: list) -> Any:
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            logits = net(x)
            chosen = np.argsort(-logits.detach().numpy(), axis=1)[:, 0].copy()
            hits = torch.from_numpy((chosen == y.numpy()).astype(np.float32))
            loss = (F.cross_entropy(logits, y, reduction="none") * (1.5 - hits)).mean()
            loss.backward()
            optimizer.step()
            return loss, hits.sum()

        return step

    in_parts(body, 30)


def test_micro_batches_with_a_running_total() -> None:
    def body(net: Any, optimizer: Any, log: list) -> Any:
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            total = 0.0
            for part, target in zip(x.split(4), y.split(4)):
                loss = F.cross_entropy(net(part), target) / 3
                loss.backward()
                total += loss.item()
            optimizer.step()
            return total

        return step

    in_parts(body, 60)


def test_a_module_that_prints(capsys: pytest.CaptureFixture) -> None:
    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            h = torch.relu(self.first(x))
            if h.mean() > 0.2:
                print("large")
            return self.last(h)

    def build(wrap: Any) -> tuple:
        net = Loud()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        x, y = batch()

        @wrap
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return lambda i: step(x + i / 10, y), lambda: list(net.state_dict().values())

    wrap = check(build, compiled=False, warns=True)
    assert ran(wrap) >= 10
    out = capsys.readouterr().out.splitlines()
    assert out[:len(out) // 2] == out[len(out) // 2:] != []


@pytest.mark.parametrize("hooks", [False, True])
def test_a_compiled_module_in_parts(hooks: bool) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.__scale = 2.0
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: Any, *, shift: float = 0.5) -> Any:
            h = torch.relu(self.first(x)) * self.__scale
            if h.sum().item() > 40:
                h = h - shift
            return self.last(h)

    def build(wrap: Any) -> tuple:
        net = Branching()
        called = wrap(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        x, y = batch()
        seen: list[Any] = []

        def step(i: int) -> Any:
            if hooks and i == 10:
                net.register_forward_hook(lambda m, a, out: seen.append(out.detach()) or out * 2)
            optimizer.zero_grad()
            loss = F.cross_entropy(called(x, shift=0.25) if i % 2 else called(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, lambda: (list(net.state_dict().values()), seen)

    wrap = check(build, compiled=False, warns=True)
    assert ran(wrap) >= 6


def test_dropout_draws_the_same_numbers() -> None:
    def build(wrap: Any) -> tuple:
        net = small(0.5)
        x, _ = batch()

        @wrap
        def step(x: Any) -> Any:
            h = net(x)
            value = h.sum().item()
            noise = torch.rand(3) if value > 0 else torch.randn(3)
            return F.dropout(h + noise, 0.3), value

        return lambda i: step(x + i), list

    assert ran(check(build, compiled=False, warns=True)) >= 18


def test_variables_that_may_be_unbound() -> None:
    def build(wrap: Any) -> tuple:
        @wrap
        def step(x: Any, flags: Any) -> Any:
            if flags[0]:
                a = x * 2
            with contextlib.suppress(ZeroDivisionError):
                b = x.exp()
                if flags[1]:
                    raise ZeroDivisionError
                b = b + 1
            print(end="")
            if flags[2]:
                b = a + 1
                del a
            total = b.sum()
            for _ in range(3):
                last = total * 2
                if last.item() > 1e6:
                    break
            if flags[3]:
                total = total + a
            return total + last if not flags[1] else b

        x = torch.randn(3)

        def call(i: int) -> Any:
            try:
                return step(x, tuple([bool(i >> k & 1) for k in range(4)]))
            except UnboundLocalError as error:
                return str(error)

        return call, list

    check(build, 64, compiled=False, warns=True)


def test_functions_made_inside() -> None:
    def build(wrap: Any) -> tuple:
        @wrap
        def step(x: Any) -> Any:
            scale = x.mean() * 2
            later = lambda v: v * scale + offset  # noqa: E731
            offset = torch.ones(3)
            first = later(x)
            offset = offset * 3
            print(end="")
            second = later(x)
            scale = scale + 1
            many = (k * scale for k in (1, 2))
            scale = scale * 0
            total = sum(v * offset.sum() for v in many)
            return first, second, total, [scale * k for k in range(2)]

        x = torch.randn(3)
        return lambda i: step(x + i), list

    check(build, compiled=False, warns=True)


def test_views_and_changes_in_place_across_parts() -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(4, 4, requires_grad=True)
        kept = torch.zeros(4)

        @wrap
        def step(x: Any) -> Any:
            h = x @ w
            row = h[0]
            copy = h.detach()
            print(end="")
            row.mul_(2)
            h.add_(1)
            copy[1] = 3
            kept.add_(row.detach())
            flat = h.view(-1)
            if kept.sum() > 0:
                flat = flat * 2
            h.mul_(0.5)
            w.grad = None
            (flat.sum() + (h * row).sum()).backward()
            return row, copy, w.grad, flat._version, h._version, row._version

        x = torch.randn(4, 4)
        return lambda i: step(x + i / 10), lambda: [w, kept, x]

    check(build, compiled=False, warns=True)


def test_errors_leave_what_eager_mode_leaves() -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(3, requires_grad=True)
        table = torch.arange(12.0).reshape(4, 3)
        log: list[Any] = []

        @wrap
        def step(i: Any) -> Any:
            loss = (w * table[i]).sum()
            loss.backward()
            log.append(loss.item())
            try:
                w.grad.mul_(0.5)
                found = table.index_select(0, i + 2)
                w.grad.add_(1)
            except IndexError:
                log.append("out of range")
                found = table[:1]
            with torch.no_grad():
                w.sub_(found.sum(0) * 0.01)
                w.add_(table.index_select(0, i + 1).sum(0) * 0.001)
            return found

        values = [[0, 1], [0, 0], [1, 1], [0, 1], [2, 1], [3, 1], [0, 1], [9, 1], [1, 0], [0, 0]]
        return lambda i: step(torch.tensor(values[i % 10])), lambda: [w, log]

    check(build, 30, compiled=False, warns=True)


def test_an_error_names_the_line_of_the_step() -> None:
    def step(x: Any) -> Any:
        y = x * 2
        print(end="")
        return y @ torch.ones(y.shape[0] + 1)

    compiled = torch.compile(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            with pytest.raises(RuntimeError) as caught:
                compiled(torch.ones(2))
            lines = [e.lineno for e in caught.traceback if Path(e.path).name == "test_parts.py"]
            assert step.__code__.co_firstlineno + 2 in lines


def test_values_that_differ_at_every_call() -> None:
    def build(wrap: Any) -> tuple:
        state = {"calls": 0}

        @wrap
        def step(x: Any, i: int, name: str) -> Any:
            state["calls"] += 1
            a = torch.sin(x) * 2
            b = a * i
            c = torch.cos(b) + len(name)
            return c.sum() * state["calls"]

        x = torch.randn(3)
        return lambda i: step(x, i, f"n{10 ** (i % 7)}"), lambda: [state["calls"]]

    check(build, 40, compiled=False, warns=True)


def test_new_objects_are_new_at_every_call() -> None:
    class Box:
        def __init__(self, value: Any) -> None:
            self.value = value

    def build(wrap: Any) -> tuple:
        kept: list[Any] = []

        @wrap
        def step(x: Any) -> Any:
            names = {"a"}
            box = Box(x * 2)
            parts = [x + 1]
            same = parts
            print(end="")
            same.append(box.value)
            names.add(str(len(parts)))
            kept.append(box)
            return parts[-1] + parts[0], sorted(names), len({id(b) for b in kept})

        x = torch.randn(3)
        return lambda i: step(x + i), list

    check(build, compiled=False, warns=True)


def test_settings_and_contexts() -> None:
    def build(wrap: Any) -> tuple:
        net = small()

        @wrap
        def step(x: Any, y: Any) -> Any:
            with torch.no_grad():
                before = net(x)
                if before.sum() > 0:
                    before = before * 2
            with torch.autocast("cpu"), contextlib.nullcontext(3) as three:
                loss = F.cross_entropy(net(x), y)
                print(end="")
                loss = loss * three + before.mean()
            net.zero_grad()
            loss.backward()
            return loss, before, [p.grad for p in net.parameters()]

        x, y = batch()
        return lambda i: step(x + i / 10, y), lambda: list(net.parameters())

    assert ran(check(build, compiled=False, warns=True, tolerance=2e-2)) >= 30


def test_hooks_on_tensors_of_a_part() -> None:
    def build(wrap: Any) -> tuple:
        net = small()
        seen: list[Any] = []

        @wrap
        def step(x: Any, y: Any) -> Any:
            net.zero_grad()
            h = net[0](x)
            h.register_hook(lambda g: seen.append(g.sum()) or g * 0.5)
            out = net[3](torch.relu(h))
            loss = F.cross_entropy(out, y)
            if loss.item() > 0:
                loss.backward()
            return loss, [p.grad for p in net.parameters()]

        x, y = batch()
        return lambda i: step(x + i / 10, y), lambda: seen

    check(build, compiled=False, warns=True)


def test_compiled_functions_inside() -> None:
    def build(wrap: Any) -> tuple:
        net = small()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        forward = wrap(lambda x, y: F.cross_entropy(net(x), y))

        @wrap
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = forward(x, y)
            print(end="")
            loss.backward()
            optimizer.step()
            return loss

        x, y = batch()
        return lambda i: step(x + i / 10, y), lambda: list(net.parameters())

    assert ran(check(build, compiled=False, warns=True)) >= 17


def test_the_whole_in_one_program_raises() -> None:
    @torch.compile(fullgraph=True)
    def step(x: Any) -> Any:
        print(end="")
        return x + 1

    with pytest.raises(RuntimeError, match="calls print"):
        step(torch.ones(1))


def test_what_explain_tells_of_parts() -> None:
    @torch.compile
    def step(x: Any) -> Any:
        y = torch.sin(x)
        value = y.sum().item()
        return torch.cos(y) * value

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(6):
            step(torch.ones(2) * i)
    assert len(caught) == 1 and "in parts" in str(caught[0].message)
    first = step.__wrapped__.__code__.co_firstlineno
    told = str(torch.compiler.explain(step))
    assert f"line {first + 3}" in told and "values of a tensor are read" in told
    assert f"lines {first + 2} to {first + 2}" in told and "sin" in told and "cos" in told
