"""A model as a graph for TensorBoard: the operations that it records while it runs once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.config_pb2 import RunMetadata
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.step_stats_pb2 import DeviceStepStats, StepStats
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef

from flambeau.autograd.modes import enable_grad
from flambeau.base import naming
from flambeau.base.messages import text
from flambeau.base.pytree import tree_leaves, tree_map
from flambeau.core.node import AccumulateGrad, Node, next_sequence
from flambeau.core.tensor import Tensor

__all__ = ["model_graph"]

# The version of graphs that the plugin expects.
PRODUCER = 22
NOTHING_RECORDED = "the graph of this model cannot be drawn: none of its results has a history."


class _Scopes:
    """Which module was running when: the numbers of the nodes recorded tell them apart."""

    def __init__(self, model: Any) -> None:
        self.names = {id(module): path for path, module in _named_scopes(model)}
        self.open: list[str] = []
        self.changes: list[tuple[int, str]] = []

    def enter(self, module: Any, arguments: Any) -> None:
        self.open.append(self.names.get(id(module), type(module).__name__))
        self.changes.append((next_sequence(), self.open[-1]))

    def leave(self, module: Any, arguments: Any, result: Any) -> None:
        self.open.pop()
        self.changes.append((next_sequence(), self.open[-1] if self.open else ""))

    def at(self, number: int) -> str:
        """The innermost module that was running when node ``number`` was recorded."""
        found = ""
        for start, scope in self.changes:
            if start > number:
                break
            found = scope
        return found


def _named_scopes(model: Any) -> Iterator[tuple[str, Any]]:
    """Every module with its path: Net, Net/Sequential[body], Net/Sequential[body]/Linear[0]."""
    paths = {"": type(model).__name__}
    for name, module in model.named_modules():
        if name:
            above, _, last = name.rpartition(".")
            paths[name] = f"{paths[above]}/{type(module).__name__}[{last}]"
        yield paths[name], module


def model_graph(model: Any, inputs: Any, verbose: bool = False) -> tuple[Any, Any]:
    """The graph of ``model`` run on ``inputs`` (a tensor or a tuple), and empty run statistics.

    A node for each recorded operation, named by the module that it runs in, for each parameter,
    input and result. The model runs in evaluation mode and keeps its own. RuntimeError where
    nothing is recorded.
    """
    arguments = tree_map(_recorded, tuple(inputs) if isinstance(inputs, (list, tuple))
                         else (inputs,))
    scopes = _Scopes(model)
    with _evaluating(model), ExitStack() as hooks, enable_grad():
        for module in model.modules():
            hooks.enter_context(module.register_forward_pre_hook(scopes.enter))
            hooks.enter_context(module.register_forward_hook(scopes.leave))
        results = [x for x in tree_leaves(_values(model(*arguments))) if isinstance(x, Tensor)]
    if not any(x.grad_fn is not None for x in results):
        advice = text("no_graph", prefix=naming.prefix())
        raise RuntimeError(f"{NOTHING_RECORDED}\n\n  {advice}")
    leaves = [x for x in tree_leaves(arguments) if isinstance(x, Tensor)]
    nodes = _Drawing(model, scopes, leaves).drawn(results)
    if verbose:
        for node in nodes:
            print(f"{node.name} = {node.op}({', '.join(node.input)})")
    statistics = RunMetadata(step_stats=StepStats(
        dev_stats=[DeviceStepStats(device="/device:CPU:0")]))
    return GraphDef(node=nodes, versions=VersionDef(producer=PRODUCER)), statistics


def _recorded(x: Any) -> Any:
    """An input that operations are recorded on, where its dtype allows it."""
    if not isinstance(x, Tensor):
        return x
    alone = x.detach()  # type: ignore[attr-defined]
    return alone.requires_grad_() if alone.dtype.is_floating_point else alone


def _values(result: Any) -> Any:
    """A result as nested tuples and dicts, also where it is an object of a class of its own."""
    return dict(vars(result)) if hasattr(result, "__dataclass_fields__") else result


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    frozen = [p for p in model.parameters()
              if not p.requires_grad and p.dtype.is_floating_point]
    model.eval()
    for p in frozen:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)
        for module, training in modes:
            module.training = training


class _Drawing:
    """Nodes of the recorded graph as nodes of the drawn one."""

    def __init__(self, model: Any, scopes: _Scopes, inputs: list[Tensor]) -> None:
        self.scopes = scopes
        self.drawings: list[Any] = []
        self.names: dict[Any, str] = {}
        self.counts: dict[str, int] = {}
        paths = dict(_named_scopes(model))
        by_path = {id(module): path for path, module in paths.items()}
        self.leaves = {id(x): (f"input/{at}", "IO Node") for at, x in enumerate(inputs)}
        for module in model.modules():
            for name, p in module.named_parameters(recurse=False):
                self.leaves.setdefault(id(p), (f"{by_path[id(module)]}/{name}", "Parameter"))

    def drawn(self, results: list[Tensor]) -> list[Any]:
        """All nodes, sources before what is made of them."""
        for node in _in_order([x.grad_fn for x in results if x.grad_fn is not None]):
            if isinstance(node, AccumulateGrad):
                self._leaf(node)
            else:
                self._operation(node)
        for at, x in enumerate(results, 1):
            source = [self.names[x.grad_fn]] if x.grad_fn is not None else []
            self._add(f"output/output.{at}", "IO Node", source, x.shape)
        return self.drawings

    def _leaf(self, node: AccumulateGrad) -> None:
        t = node.variable
        name, kind = self.leaves.get(id(t), ("constant", "Constant"))
        self.names[node] = self._add(name, kind, [], t.shape)

    def _operation(self, node: Node) -> None:
        kind = type(node).__name__.removesuffix("0").removesuffix("Backward")
        sources = [self.names[source] for source, _ in node.next_functions if source is not None]
        scope = self.scopes.at(node.seq)
        name = f"{scope}/{kind}" if scope else kind
        self.names[node] = self._add(name, kind, sources, node.shape)

    def _add(self, name: str, kind: str, sources: list[str], shape: Any) -> str:
        count = self.counts[name] = self.counts.get(name, 0) + 1
        if count > 1:
            name = f"{name}_{count}"
        sizes = TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in shape])
        held = {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[sizes]))}
        self.drawings.append(NodeDef(name=name, op=kind, input=copy.copy(sources), attr=held))
        return name


def _in_order(roots: list[Node]) -> list[Node]:
    """Every node that leads to ``roots``, what comes first in front; without recursion."""
    seen: set[Node] = set()
    pending: list[Node] = list(roots)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += [source for source, _ in node.next_functions if source is not None]
    return sorted(seen, key=lambda node: (not isinstance(node, AccumulateGrad), node.seq))
