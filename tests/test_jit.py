"""``torch.jit``: what is scripted or traced runs as it is."""

from __future__ import annotations

import pytest

import flambeau as torch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_scripted_things_are_themselves() -> None:
    net = torch.nn.Linear(2, 2)
    assert torch.jit.script(net) is net

    @torch.jit.script
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert double(torch.ones(1)).item() == 2
    with pytest.warns(DeprecationWarning, match="torch.jit.script` is deprecated"):
        torch.jit.script(net)


def test_tracing_runs_the_function_once() -> None:
    calls = []

    def f(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x + y

    assert torch.jit.trace(f, (torch.ones(1), torch.ones(1))) is f and calls == [1]
    with pytest.raises(RuntimeError, match="no tensor"):
        torch.jit.trace(lambda x: None, torch.ones(1))
    net = torch.nn.Linear(2, 2)
    assert torch.jit.trace_module(net, {"forward": torch.ones(1, 2)}) is net


def test_freezing_wants_evaluation_mode() -> None:
    net = torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="eval mode"):
        torch.jit.freeze(net)
    assert torch.jit.freeze(net.eval()) is net
    with pytest.raises(RuntimeError, match="ScriptModule"):
        torch.jit.freeze(1)


def test_the_rest() -> None:
    class Net(torch.jit.ScriptModule):
        @torch.jit.script_method
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

        @torch.jit.ignore(drop=True)
        def other(self) -> None: ...

    assert Net()(torch.ones(1)).item() == 1
    assert not torch.jit.is_scripting() and torch.jit.annotate(list[int], []) == []
    assert torch.jit.wait(torch.jit.fork(lambda a: a + 1, 1)) == 2
    assert not hasattr(torch.jit, "save")
