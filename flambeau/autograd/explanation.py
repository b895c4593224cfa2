"""``explain``: where the gradients of a tensor or a module come from, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base import dtypes, naming
from flambeau.base.errors import name_of
from flambeau.base.messages import text
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, Node, Output
from flambeau.core.tensor import Tensor

__all__ = ["Explanation", "explain"]

SHOWN = 20


class Explanation(str):
    """A text that shows as itself."""

    def __repr__(self) -> str:
        return str(self)


def explain(*things: Any) -> Explanation:
    """Where the gradients of tensors (or of modules) come from, or why there are none.

    Says which leaves a loss leads to, how many backward passes their ``.grad`` has gathered (a
    forgotten ``zero_grad``), and what keeps a tensor from having a gradient. English or 中文 by
    FLAMBEAU_LANG.

    >>> import flambeau as torch
    >>> w = torch.tensor(2.0, requires_grad=True)
    >>> for _ in range(3):
    ...     (w * w).backward()
    >>> "3" in torch.autograd.explain(w)
    True
    """
    if not things:
        raise TypeError("explain() takes a tensor or a module, or several of them")
    lines: list[str] = []
    for thing in things:
        lines += _of_tensor(thing) if isinstance(thing, Tensor) else _of_module(thing)
    return Explanation("\n".join(lines))


def _prefix() -> str:
    return naming.prefix()


def _of_module(module: Any) -> list[str]:
    if not hasattr(module, "named_parameters"):
        raise TypeError(f"explain() takes a tensor or a module, not {type(module).__name__}")
    named = list(module.named_parameters())
    learn = [(n, p) for n, p in named if p.requires_grad]
    lines = [text("explain_module", name=type(module).__name__, count=len(named),
                  learn=len(learn))]
    for name, p in named:
        lines += ["  " + line for line in _of_leaf(name, p)]
    return lines


def _of_tensor(t: Tensor) -> list[str]:
    name = name_of(t)
    if t._node is None:
        return _without_gradient(name, t)
    if t._node is LEAF:
        return [text("explain_leaf", name=name), *["  " + s for s in _of_leaf(name, t)]]
    nodes, leaves = reached(t)
    lines = [text("explain_retained" if t.retains_grad else "explain_non_leaf", name=name)]
    if any(n.freed for n in nodes):
        lines.append(text("explain_freed", name=name))
    if not leaves:
        return [*lines, text("explain_no_leaves", name=name)]
    steps = " ← ".join(n.name() for n in nodes[:4]) + (" ← …" if len(nodes) > 4 else "")
    lines.append(text("explain_path", name=name, count=len(nodes), steps=steps,
                      leaves=len(leaves)))
    for leaf in leaves[:SHOWN]:
        lines += ["  " + line for line in _of_leaf(name_of(leaf, "?"), leaf)]
    if len(leaves) > SHOWN:
        lines.append("  …")
    return lines


def reached(t: Tensor) -> tuple[list[Node], list[Tensor]]:
    """The nodes behind ``t``, nearest first, and the leaves at their ends."""
    edge = t._node
    first = edge.node if type(edge) is Output else edge
    nodes: list[Node] = []
    leaves: list[Tensor] = []
    seen = {first}
    row = [first]
    while row:
        below: list[Any] = []
        for node in row:
            nodes.append(node)
            for e in node.next:
                found = e.node if type(e) is Output else e
                if found is None or found in seen:
                    continue
                seen.add(found)
                into: list[Any] = leaves if isinstance(found, Tensor) else below
                into.append(found)
        row = below
    return nodes, leaves


def passes(leaf: Tensor) -> int:
    """How many backward passes ``.grad`` holds the sum of; 0 where it is None."""
    meta = leaf._x
    if meta is None or meta.grad is None:
        return 0
    version = meta.grad._v
    if version is not None and version[0] and version[0] == meta.gathered_at:
        return 1 + meta.gathered
    return 1


def _of_leaf(name: str, leaf: Tensor) -> list[str]:
    shape = list(leaf._a.shape)
    if leaf._node is None:
        return [text("explain_frozen", name=name, shape=shape)]
    count = passes(leaf)
    if not count:
        return [text("explain_empty", name=name, shape=shape)]
    lines = [text("explain_once", name=name, shape=shape) if count == 1 else
             text("explain_gathered", name=name, shape=shape, count=count)]
    a = leaf._x.grad._a  # type: ignore[union-attr]
    if isinstance(a, np.ndarray) and a.dtype.kind in "fc" and a.size:
        if not np.isfinite(a).all():
            lines.append(text("explain_nan", name=name, prefix=_prefix()))
        elif not a.any():
            lines.append(text("explain_zero", name=name))
    return lines


def _without_gradient(name: str, t: Tensor) -> list[str]:
    lines = [text("explain_none", name=name)]
    reasons = []
    meta = t._x
    if t.dtype.category < dtypes.FLOAT:
        reasons.append(text("explain_integer", dtype=str(t.dtype)))
    if t.is_inference():
        reasons.append(text("explain_inference", name=name))
    elif meta is not None and meta.made_without_grad:
        reasons.append(text("explain_no_grad_view", mode=meta.made_without_grad))
    elif meta is not None and meta.base is None and meta.root is not None:
        reasons.append(text("explain_detached"))
    if not MODES.grad:
        reasons.append(text("explain_off", prefix=_prefix()))
    if not reasons:
        reasons.append(text("explain_plain", prefix=_prefix()))
    return lines + ["  " + r for r in reasons]
