"""What a recording watches: operators on every face, nodes of backward, steps of optimizers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from flambeau.autograd.record_session import BACKWARD, Session
from flambeau.core import dispatch, engine, face, pointwise
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor

__all__ = ["watch_all"]

EVALUATE = "autograd::engine::evaluate_function: "

# Faces, and what their operators' names begin with.
PLACES = {"torch": "", "nn.functional": "", "linalg": "linalg_", "fft": "fft_",
          "special": "special_"}
# On these faces, but no operators: questions, settings, conversions that copy nothing.
NO_OPERATORS = frozenset("""
    backward broadcast_shapes cpu data_ptr dim element_size from_dlpack frombuffer initial_seed
    manual_seed ndimension nelement numel numpy register_hook register_post_accumulate_grad_hook
    requires_grad_ retain_grad seed size storage storage_offset stride tolist type typename
    untyped_storage share_memory_ pin_memory
    """.split())
# Names that PyTorch's operators have behind its functions.
ATEN = {"cross_entropy": "cross_entropy_loss", "nll_loss": "nll_loss_nd", "float": "to",
        "double": "to", "half": "to", "bfloat16": "to", "int": "to", "long": "to", "short": "to",
        "byte": "to", "char": "to", "bool": "to", "cfloat": "to", "cdouble": "to"}
METHODS = {"__abs__": "abs", "__and__": "bitwise_and", "__bool__": "is_nonzero", "__div__": "div",
           "__eq__": "eq", "__float__": "item", "__floordiv__": "floor_divide", "__ge__": "ge",
           "__getitem__": "index", "__gt__": "gt", "__int__": "item", "__invert__": "bitwise_not",
           "__le__": "le", "__lshift__": "bitwise_left_shift", "__lt__": "lt",
           "__matmul__": "matmul", "__mod__": "remainder", "__mul__": "mul", "__ne__": "ne",
           "__neg__": "neg", "__or__": "bitwise_or", "__pow__": "pow",
           "__rshift__": "bitwise_right_shift", "__setitem__": "index_put_", "__sub__": "sub",
           "__add__": "add", "__truediv__": "div", "__xor__": "bitwise_xor"}


def watch_all(session: Session) -> None:
    """Have ``session`` record operators, backward, optimizers and loaders."""
    for place in PLACES:
        for name, function in FACES.get(place, {}).items():
            _watch(session, function, place, name)
    for name, function in list(vars(Tensor).items()):
        _watch(session, function, "Tensor", name)
    for function in (dispatch.apply, pointwise.apply_pointwise):
        session.watch(function, _operator_name)
    _watch_backward(session)
    _watch_later_layers(session)
    _watch_what_comes(session)


def _watch(session: Session, function: Any, place: str, name: str) -> None:
    shown = _shown(place, name)
    if shown:
        session.watch(function, shown)


def _watch_what_comes(session: Session) -> None:
    """Operators whose files are imported while the recording goes on."""
    def replace(show: Callable) -> Callable:
        def call(function: Any, name: str, *places: str) -> None:
            show(function, name, *places)
            for place in places or ("torch",):
                _watch(session, function, place, name)

        return call

    session.exchange(face.show, replace)


def _shown(place: str, name: str) -> str | None:
    """The name of an operator; None for what is none."""
    if place == "Tensor":
        name = _method(name)
    if not name or name in NO_OPERATORS or name.startswith(("_", "is_", "get_", "set_")):
        return None
    return f"aten::{PLACES.get(place, '')}{ATEN.get(name, name)}"


def _method(name: str) -> str:
    if not name.startswith("__"):
        return name
    if name in METHODS:
        return METHODS[name]
    # __radd__ is add from the other side, __iadd__ the change in place.
    plain = f"__{name[3:]}"
    if plain not in METHODS:
        return ""
    return METHODS[plain] + ("_" if name[2] == "i" else "")


def _operator_name(op: Any, *args: Any) -> str:
    return f"aten::{op.name}"


def _watch_backward(session: Session) -> None:
    def node(node: Any, *args: Any) -> str:
        return node.name()

    def leaf(*args: Any) -> str:
        return "torch::autograd::AccumulateGrad"

    for function, name in ((engine.run_plain, node), (engine.run_with_hooks, node),
                           (engine.gather, leaf)):
        session.watch(function, lambda *args, name=name: EVALUATE + name(*args), (name, BACKWARD))
    # The loop that the functions above are called from.
    session.exchange(engine._Task.plain_loop, lambda original: lambda task: task.loop())


def _watch_later_layers(session: Session) -> None:
    """What modules that build on this one do, where the program has loaded them."""
    optimizers = sys.modules.get("flambeau.optim.optimizer")
    pending = [] if optimizers is None else [optimizers.Optimizer]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        for method in ("step", "zero_grad"):
            session.watch(vars(kind).get(method), _method_name(method))
    loaders = sys.modules.get("flambeau.utils.data._utils.iterators")
    if loaders is not None:
        session.watch(loaders._BaseDataLoaderIter.__next__,
                      lambda it: f"enumerate(DataLoader)#{type(it).__name__}.__next__")


def _method_name(method: str) -> Callable:
    def name(optimizer: Any, *args: Any) -> str:
        return f"Optimizer.{method}#{type(optimizer).__name__}.{method}"

    return name
