"""Graphs of models: the operations that ran, named by their modules, joined as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flambeau as fl

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from tensorboard.compat.proto.graph_pb2 import GraphDef  # noqa: E402

from flambeau import nn  # noqa: E402
from flambeau.utils.tensorboard import SummaryWriter  # noqa: E402
from flambeau.utils.tensorboard.graph import model_graph  # noqa: E402
from tests.utils.tensorboard.test_writer import events  # noqa: E402


class Net(nn.Module):
    """Two layers side by side, a frozen one, and a dropout that must not change anything."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.9))
        self.last = nn.Linear(4, 2)
        self.last.requires_grad_(False)

    def forward(self, x: Any, scale: Any) -> Any:
        hidden = self.first(x)
        return {"a": self.last(self.body(hidden) + hidden), "b": hidden * scale}


def drawn(model: Any, inputs: Any) -> dict[str, Any]:
    graph, _ = model_graph(model, inputs)
    found = {node.name: node for node in graph.node}
    assert len(found) == len(graph.node)
    for node in graph.node:
        assert all(source in found for source in node.input)
    return found


def test_nodes_and_their_names() -> None:
    model = Net().train()
    model.body[2].eval()
    found = drawn(model, (fl.ones(5, 3), fl.ones(1)))
    names = set(found)
    assert {"input/0", "input/1", "output/output.1", "output/output.2"} <= names
    assert {"Net/Linear[first]/weight", "Net/Linear[first]/bias", "Net/Linear[last]/weight",
            "Net/Sequential[body]/Linear[0]/weight"} <= names
    assert {"Net/Linear[first]/Addmm", "Net/Sequential[body]/ReLU[1]/Relu", "Net/Add",
            "Net/Mul", "Net/Linear[last]/Addmm"} <= names
    add = found["Net/Add"]
    assert list(add.input) == ["Net/Sequential[body]/ReLU[1]/Relu", "Net/Linear[first]/Addmm"]
    shape = [d.size for d in add.attr["_output_shapes"].list.shape[0].dim]
    assert shape == [5, 4] and add.op == "Add"
    assert model.training and not model.body[2].training
    assert not model.last.weight.requires_grad
    assert not any(module._forward_hooks for module in model.modules())


def test_the_event(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(Net(), (fl.ones(5, 3), fl.ones(1)))
    (event,) = [e for e in events(tmp_path)["."] if e.HasField("graph_def")]
    graph = GraphDef.FromString(event.graph_def)
    assert len(graph.node) > 10 and graph.versions.producer == 22


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    model_graph(nn.Linear(3, 2), fl.ones(1, 3), verbose=True)
    assert "output/output.1 = IO Node(Linear/Addmm)" in capsys.readouterr().out


def test_operations_of_one_name_are_counted() -> None:
    class Thrice(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.exp().exp().exp()

    assert {"Thrice/Exp", "Thrice/Exp_2", "Thrice/Exp_3"} <= set(drawn(Thrice(), fl.ones(2)))


def test_integers_in() -> None:
    found = drawn(nn.Embedding(5, 3), fl.tensor([1, 2]))
    assert "Embedding/weight" in found and "Embedding/Embedding" in found


def test_what_has_no_history_is_said() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Any) -> Any:
            return (x > 0).sum()

    model = Nothing().train()
    with pytest.raises(RuntimeError, match="none of its results has a history"):
        model_graph(model, fl.ones(2))
    assert model.training


def test_a_model_that_fails_is_left_as_it_was() -> None:
    model = Net().train()
    with pytest.raises(RuntimeError):
        model_graph(model, (fl.ones(5, 4), fl.ones(1)))
    assert model.training and not any(m._forward_hooks for m in model.modules())
