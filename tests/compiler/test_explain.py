"""What compiler.explain() tells, and what else torch.compiler has."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import pytest

import flambeau as torch


def test_graph_kernels_checks_and_retraces(tmp_path: Path) -> None:
    w = torch.randn(4, 3)
    f = torch.compile(lambda x, k: torch.relu(x @ w) * k)
    for k in (2.0, 2.0, 3.0):
        f(torch.randn(5, 4), k)
    told = str(torch.compiler.explain(f))
    assert "2 programs" in told and "relu" in told and "float32[5, 4]" in told
    assert "argument 1 was 2.0 and is 3.0" in told
    drawn = torch.compiler.explain(f).svg(tmp_path / "graph.svg")
    assert xml.fromstring(drawn).tag.endswith("svg")
    assert (tmp_path / "graph.svg").read_text("utf-8") == drawn


def test_why_a_function_is_not_compiled() -> None:
    f = torch.compile(lambda x: x * float(x.sum()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(4):
            f(torch.ones(2))
    assert len(caught) == 1 and "values of a tensor are read" in str(caught[0].message)
    assert "not compiled: the values of a tensor are read" in str(torch.compiler.explain(f))
    with pytest.raises(TypeError, match="takes what compile"):
        torch.compiler.explain(len)


def test_fullgraph_raises() -> None:
    f = torch.compile(lambda x: x * float(x.sum()), fullgraph=True)
    with pytest.raises(RuntimeError, match="values of a tensor are read"):
        f(torch.ones(2))


@pytest.mark.parametrize("options", [
    {"mode": "foo"}, {"backend": "foo"}, {"options": {"foo": 1}},
    {"mode": "default", "options": {}}, {"backend": lambda graph, inputs: graph}])
def test_wrong_settings(options: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError):
        torch.compile(lambda x: x, **options)


def test_spellings() -> None:
    @torch.compile(mode="max-autotune", dynamic=True)
    def f(x: Any) -> Any:
        "Twice."
        return x * 2

    assert f.__name__ == "f" and f.__doc__ == "Twice."
    assert torch.equal(f(torch.ones(2)), torch.full((2,), 2.0))
    with pytest.raises(AssertionError, match="A callable function is expected"):
        torch.compile(3)
    plain = abs
    assert torch.compile(plain, disable=True) is plain
    assert torch.compile(plain, backend="eager") is plain


def test_compiling_is_told_inside() -> None:
    seen = []
    f = torch.compile(lambda x: (seen.append(torch.compiler.is_compiling()), x + 1)[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f(torch.ones(1))
    assert seen == [True] and not torch.compiler.is_compiling()


def test_disable() -> None:
    @torch.compiler.disable
    def helper(x: Any) -> Any:
        return x + 1

    f = torch.compile(lambda x: helper(x) * 2)
    with pytest.warns(RuntimeWarning, match="compiler.disable"):
        assert torch.equal(f(torch.ones(2)), torch.full((2,), 4.0))


def test_stance_and_reset() -> None:
    f = torch.compile(lambda x: x + 1)
    f(torch.ones(2))
    with torch.compiler.set_stance("fail_on_recompile"):
        f(torch.ones(2))
        with pytest.raises(RuntimeError, match="recompile"):
            f(torch.ones(3))
    with torch.compiler.set_stance("force_eager"):
        assert torch.equal(f(torch.ones(3)), torch.full((3,), 2.0))
    torch.compiler.reset()
    assert "0 programs" in str(torch.compiler.explain(f))
    assert torch.equal(f(torch.ones(2)), torch.full((2,), 2.0))


def test_many_shapes_warn_once() -> None:
    f = torch.compile(lambda x: x + 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 15):
            assert torch.equal(f(torch.ones(n)), torch.full((n,), 2.0))
    assert len(caught) == 1 and "8 times" in str(caught[0].message)


def test_a_module_runs_compiled() -> None:
    net = torch.nn.Linear(3, 2)
    compiled = torch.compile(net)
    assert isinstance(compiled, torch.nn.Module) and compiled.weight is net.weight
    assert list(compiled.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    assert not compiled.eval().training and not net.training
    x = torch.randn(4, 3)
    for _ in range(3):
        assert torch.allclose(compiled(x), net(x))
