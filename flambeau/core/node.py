"""The nodes of the backward graph: what each remembers and how it gives gradients back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.base import naming
from flambeau.base.errors import told
from flambeau.core.modes import MODES

if TYPE_CHECKING:
    from flambeau.core.tensor import Tensor

next_sequence = itertools.count(1).__next__

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
TWICE = (
    "Trying to backward through the graph a second time (or directly access saved tensors "
    "after they have already been freed). Saved intermediate values of the graph are freed "
    "when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to "
    "backward through the graph a second time or if you need to access saved tensors after "
    "calling backward."
)


class InferenceVersion(list):
    """The version counter of tensors made in inference mode: it counts nothing.

    Where gradients are recorded a tensor's version is read in order to save the tensor, which is
    what inference tensors refuse.
    """

    def __getitem__(self, at: Any) -> Any:
        if MODES.grad:
            raise RuntimeError(
                "Inference tensors cannot be saved for backward. Please do not use Tensors created "
                "in inference mode in computation tracked by autograd. To work around this, you "
                "can make a clone to get a normal tensor and use it in autograd, or use "
                "`torch.no_grad()` instead of `torch.inference_mode()`."
            )
        return 0


class _Leaf:
    """Marks a tensor that requires grad and was made by no operation."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LEAF"


LEAF = _Leaf()


class Output:
    """One output, number ``nr``, of a node that has several."""

    __slots__ = ("node", "nr")

    def __init__(self, node: Node, nr: int) -> None:
        self.node = node
        self.nr = nr


class Node:
    """One recorded operation.

    ``next`` holds, per input, where its gradient goes: a Node, an Output, a leaf Tensor or None.
    ``shape`` and ``dtype`` describe the output; a node of several outputs lists them in
    ``outputs``. ``seq`` grows with time, so the greatest pending node has all its gradients.
    """

    next: tuple = ()
    saved: tuple = ()
    seq = 0
    shape: tuple[int, ...] = ()
    dtype: Any = None
    outputs: list | None = None
    versions: tuple | None = None
    out_version: list | None = None
    out_at = 0
    pre_hooks: dict | None = None
    post_hooks: dict | None = None
    tensor_hooks: dict | None = None
    retained: dict | None = None
    trace: Any = None
    freed = False
    # Whether any of the hooks above is there.
    hooked = False
    # Whether outputs without a gradient get zeros, and gradients may be tensors others hold.
    materialize = True
    may_share = False
    requires_grad = True

    def run(self, g: Any) -> Any:
        """Gradients for ``next``, given the gradient(s) of the output(s)."""
        raise NotImplementedError

    def run_needed(self, g: Any, edges: tuple) -> Any:
        """As ``run``, where only gradients for ``edges`` are wanted: ``next`` with gaps."""
        return self.run(g)

    def run_arrays(self, a: ndarray) -> Sequence | None:
        """As ``run``, on arrays, where nothing is recorded; None where that does not apply."""
        return None

    def release(self) -> None:
        """Forget what was saved."""
        if self.saved:
            self.saved = ()
            self.freed = True

    def remember_call(self) -> None:
        """Note where the operation was called, for anomaly detection."""
        import traceback  # At start-up it would cost half a millisecond that few programs need.

        trace = traceback.extract_stack()
        del trace[-2:]
        self.trace = trace

    def name(self) -> str:
        """The node's name, PyTorch's."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple:
        """A pair (node, output number) per input; leaves show as AccumulateGrad nodes."""
        return tuple(_edge_pair(e) for e in self.next)

    @property
    def metadata(self) -> dict:
        """A dict of the user's own, made when first read."""
        return self.__dict__.setdefault("_metadata", {})

    def _sequence_nr(self) -> int:
        return self.seq

    def register_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` after the node runs."""
        self._note_hook()
        if self.post_hooks is None:
            self.post_hooks = {}
        return RemovableHandle(self.post_hooks, hook)

    def _note_hook(self) -> None:
        self.hooked = True
        if MODES.tracer is not None:
            MODES.tracer.hooks(self)

    def register_prehook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad_outputs)`` before the node runs."""
        self._note_hook()
        if self.pre_hooks is None:
            self.pre_hooks = {}
        return RemovableHandle(self.pre_hooks, hook)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"


Node.__module__ = "flambeau.autograd.graph"


class RemovableHandle:
    """What registering a hook returns; ``remove()`` takes the hook away again.

    ``hooks`` is the dict that holds the hook under ``id``; ``extra_dict``, one dict or a list of
    them, may note more about it there. It may be used in a ``with`` block.
    """

    next_id = 0

    def __init__(self, hooks_dict: dict, hook: Callable | None = None, *,
                 extra_dict: Any = None) -> None:
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        self._hooks = hooks_dict
        self._extra = (extra_dict,) if isinstance(extra_dict, dict) else tuple(extra_dict or ())
        if hook is not None:
            hooks_dict[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        for held in (self._hooks, *self._extra):
            held.pop(self.id, None)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


RemovableHandle.__module__ = "flambeau.utils.hooks"


class AccumulateGrad(Node):
    """Stands for a leaf in ``next_functions``; ``variable`` is the leaf."""

    seq = (1 << 64) - 1

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable
        self.shape = variable._a.shape
        self.dtype = variable._a.dtype

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def register_hook(self, hook: Callable) -> RemovableHandle:
        self._stay()
        return super().register_hook(hook)

    def register_prehook(self, hook: Callable) -> RemovableHandle:
        self._stay()
        return super().register_prehook(hook)

    def _stay(self) -> None:
        """Live as long as the leaf: the hooks shall be called also where nobody holds the node."""
        self.variable._meta().accumulator = lambda: self


def accumulator(leaf: Tensor) -> AccumulateGrad:
    """The leaf's one AccumulateGrad node."""
    meta = leaf._meta()
    found = meta.accumulator() if meta.accumulator is not None else None
    if found is None:
        found = AccumulateGrad(leaf)
        meta.remember_accumulator(found)
    return found


def _edge_pair(edge: Any) -> tuple:
    if edge is None:
        return None, 0
    if isinstance(edge, Node):
        return edge, 0
    if isinstance(edge, Output):
        return edge.node, edge.nr
    return accumulator(edge), 0


class OpNode(Node):
    """A node of a declared operator; each operator has a subclass, named as in PyTorch.

    ``saved`` holds, in the order of ``op.slots``, what its formulas name: input tensors, the
    output's array, parameters. ``op`` is set on the subclass.
    """

    op: Any = None

    def release(self) -> None:
        if self.op.saved_tensors and self.saved:
            self.saved = ()
            self.freed = True

    def run(self, g: Any) -> Any:
        return self.run_needed(g, self.next)

    def run_needed(self, g: Any, edges: tuple) -> Any:
        op = self.op
        if op.saved_tensors or self.freed:
            values: Any = self.unpack()
        else:
            values = self.saved
        if op.joint is None and len(self.next) == 1:
            formula = op.formulas[0]
            return (formula[0](g, *[values[k] for k in formula[1]]),)
        if op.joint is not None:
            needs = tuple([e is not None for e in edges])
            return op.joint(g, *[needs if k < 0 else values[k] for k in op.joint_picks])
        grads: list[Any] = []
        for edge, formula in zip(edges, op.formulas):
            if edge is None or formula is None:
                grads.append(None)
            else:
                grads.append(formula[0](g, *[values[k] for k in formula[1]]))
        return grads

    def run_arrays(self, a: ndarray) -> Sequence | None:
        runner = OpNode.array_runner(self.op)
        type(self).run_arrays = runner  # type: ignore[method-assign, assignment]
        return runner(self, a)

    @staticmethod
    def array_runner(op: Any) -> Callable[[Any, ndarray], Sequence | None]:
        raise NotImplementedError("set by flambeau.core.bare")

    def unpack(self) -> list:
        """The saved values, checked against in-place changes since they were saved."""
        if self.freed:
            raise RuntimeError(told(TWICE, "twice"))
        values = list(self.saved)
        versions = self.versions
        for at, kind in self.op.saved_tensors:
            value = values[at]
            if kind == "out":
                if value is not None:
                    values[at] = self._unpack_out(value)
            elif kind == "inputs":
                values[at] = [self._unpack_input(v, n) for v, n in value]
            elif value is not None and (type(value) is Packed or hasattr(value, "_v")):
                values[at] = self._unpack_input(value, versions[at] if versions else 0)
        return values

    def _unpack_input(self, value: Any, expected: int) -> Any:
        if type(value) is Packed:
            return value.unpack()
        version = value._v
        if version is not None and version[0] != expected:
            raise changed_in_place(value, self, version[0], expected)
        return value

    def _unpack_out(self, saved: Any) -> Any:
        if type(saved) is Packed:
            return saved.unpack(self)
        version = self.out_version
        if version is not None and version[0] != self.out_at:
            raise changed_in_place(OpNode.rebuild(saved, self), self, version[0], self.out_at)
        if isinstance(saved, tuple):
            return tuple([OpNode.rebuild(a, Output(self, i)) for i, a in enumerate(saved)])
        return OpNode.rebuild(saved, self)

    @staticmethod
    def rebuild(array: np.ndarray, node: Any) -> Tensor:
        raise NotImplementedError("set by flambeau.core.tensor")


class Same(Node):
    """Leads on to a leaf: the history of what stands for the leaf's value."""

    def __init__(self, leaf: Tensor) -> None:
        self.next = (leaf,)
        self.seq = next_sequence()
        self.shape = leaf._a.shape
        self.dtype = leaf._a.dtype

    def run(self, g: Any) -> Any:
        return (g,)


class Packed:
    """A saved tensor put away by a user's pack hook, and its history.

    The history of a node's own output is not kept here, for it would keep the node alive.
    """

    __slots__ = ("edge", "packed", "unpack_hook")

    def __init__(self, value: Tensor, hooks: tuple[Callable, Callable], own: bool = False) -> None:
        before = MODES.grad
        MODES.grad = False
        try:
            self.packed = hooks[0](value)
        finally:
            MODES.grad = before
        self.unpack_hook = hooks[1]
        self.edge = None if own else value if value._node is LEAF else value._node

    def unpack(self, edge: Any = None) -> Tensor:
        """The tensor; ``edge`` is its history where it was kept elsewhere."""
        found = self.unpack_hook(self.packed)
        if not hasattr(found, "_node"):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got "
                f"result of type {type(found).__name__}"
            )
        edge = edge or self.edge
        if not MODES.grad or edge is None:
            return found
        return OpNode.rebuild(found._a, Same(edge) if hasattr(edge, "_a") else edge)


def changed_in_place(t: Any, node: Node, now: int, expected: int) -> RuntimeError:
    """The error for a saved tensor that was changed before backward needed it."""
    shape = ", ".join(map(str, t._a.shape))
    kind = f"{naming.prefix()}.{t.dtype.title}Tensor"
    source = getattr(t, "_node", None)
    made = ""
    if isinstance(source, Node):
        made = f", which is output 0 of {re.sub('Backward[0-9]*$', '', source.name())},"
    first = (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: [{kind} [{shape}]]{made} is at version {now}; expected version "
        f"{expected} instead. Hint: "
        + (
            "the backtrace further above shows the operation that failed to compute its gradient. "
            "The variable in question was changed in there or anywhere later. Good luck!"
            if MODES.anomaly
            else "enable anomaly detection to find the operation that failed to compute its "
            "gradient, "
            "with torch.autograd.set_detect_anomaly(True, check_nan=False)."
        )
    )
    return RuntimeError(
        told(first, "changed", (t,), False, node=node.name()) + _forward_trace(node)
    )


def _forward_trace(node: Node) -> str:
    if not node.trace:
        return ""
    return "\n  The operation was recorded here:\n" + "".join(node.trace.format())
