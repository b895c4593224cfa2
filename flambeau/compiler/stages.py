"""What each stage of compiling makes of a step: shown on standard error by FLAMBEAU_DEBUG."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from flambeau.base.config import debug_level
from flambeau.compiler.graph import Graph

__all__ = ["show_graph", "show_kernels", "work_of"]

OPERATORS, GRAPH, GROUPS, TEXT, ASSEMBLY = range(1, 6)


def show_graph(stage: int, graph: Graph) -> None:
    """Show the operators as they were traced, or the graph that is left of them."""
    if debug_level() >= stage:
        _show(stage, "operators" if stage == OPERATORS else "graph", str(graph).splitlines())


def show_kernels(executor: Any) -> None:
    """Show what an executor runs, and the code of its kernels."""
    level = debug_level()
    if level < GROUPS:
        return
    _show(GROUPS, "kernels", [f"{name}: {moved} bytes, {work} operations"
                              for name, moved, work in work_of(executor)])
    if level < TEXT:
        return
    kernels = getattr(executor, "kernels", {}).values()
    for text in dict.fromkeys([k.text for k in kernels]):
        _show(TEXT, "LLVM text", text.splitlines())
        if level >= ASSEMBLY:
            from flambeau.backends.llvm import jit  # there are kernels, so it is there

            _show(ASSEMBLY, "assembly", jit.assembly(text).splitlines())


def work_of(executor: Any) -> Iterator[tuple[str, int, int]]:
    """Per kernel, product or single node: its name, bytes moved, operations.

    Those that run side by side are one: "3 x mm + mm_tn".
    """
    for wave in getattr(executor, "waves", ()):
        parts = [_work(executor, unit) for unit in wave]
        counts = Counter([name for name, _, _ in parts])
        yield (" + ".join([name if n == 1 else f"{n} x {name}" for name, n in counts.items()]),
               sum([moved for _, moved, _ in parts]), sum([work for _, _, work in parts]))
    copies = [copy for _, copy in getattr(executor, "copies", ())]
    if copies:
        name = "copy" if len(copies) == 1 else f"{len(copies)} x copy"
        yield name, sum([copy.nbytes for copy in copies]), 0


def _work(executor: Any, unit: Any) -> tuple[str, int, int]:
    kernel = executor.kernels.get(unit.number)
    single = executor.singles.get(unit.number)
    name = " ".join([n.name for n in unit.nodes])
    if kernel is not None:
        return f"[{name}]", kernel.nbytes, kernel.items * len(kernel.program.steps)
    if single is not None:
        return name, single.nbytes, getattr(single, "flops", 0)
    node = unit.nodes[0]
    return f"{name} (NumPy)", sum([v.nbytes for v in (*node.values(), *node.outputs)]), 0


def _show(stage: int, title: str, lines: Iterable[str]) -> None:
    print(f"flambeau {stage}, {title}:", *[f"  {line}" for line in lines], sep="\n",
          file=sys.stderr, flush=True)
