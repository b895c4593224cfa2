"""What became of a compiled function: its graph, kernels, checks, and why it was traced again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flambeau.base.messages import text
from flambeau.compiler.entry import unit_of
from flambeau.compiler.graph import Graph, Node
from flambeau.compiler.stages import work_of

__all__ = ["Explanation", "explain"]

BOX_WIDTH, BOX_HEIGHT, GAP = 220, 34, 16


class Explanation:
    """The text is what ``print`` shows; ``svg()`` draws the graph of a program."""

    def __init__(self, unit: Any) -> None:
        self.unit = unit

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        unit = self.unit
        yield text("explain_unit", name=unit.name, programs=len(unit.programs), traces=unit.traces,
                   runs=unit.runs)
        for why in unit.retraces:
            yield "  " + text("explain_retrace", why=why)
        if unit.parts is not None:
            yield from _part_lines(unit)
        elif unit.reasons and not unit.programs:
            for reason in dict.fromkeys(unit.reasons):
                yield "  " + text("explain_eager", reason=reason)
        for number, program in enumerate(unit.programs):
            yield text("explain_program", number=number)
            yield from _program_lines(program)

    def svg(self, path: str | Path | None = None, program: int = 0) -> str:
        """The graph of a program as SVG: one box a node, kernels in one colour each.

        It is written to ``path``, where one is given. IndexError where there is no such program.
        """
        found = self.unit.programs[program]
        drawn = _drawing(found.trace.graph, _homes(found.executor))
        if path is not None:
            Path(path).write_text(drawn, "utf-8")
        return drawn


def explain(function: Callable) -> Explanation:
    """What became of ``function``, which ``compile`` returned; print it to read it.

    TypeError for what is no compiled function.

    >>> import flambeau as torch
    >>> f = torch.compile(lambda x: x * 2 + 1)
    >>> _ = f(torch.ones(3))
    >>> "mul" in str(torch.compiler.explain(f))
    True
    """
    unit = unit_of(function)
    if unit is None:
        raise TypeError(f"explain() takes what compile() returned, not {function!r}")
    return Explanation(unit)


def _part_lines(unit: Any, indent: str = "  ") -> Iterator[str]:
    """The parts of a unit, and the statements between them, in their order."""
    parts = unit.parts
    file = Path(parts.source.function.__code__.co_filename).name
    found = [(s.lineno, text("explain_python", file=file, line=s.lineno, code=code, reason=why),
              None) for s, code, why in parts.told()]
    found += [(lines[0], text("explain_unit", name=part.name, programs=len(part.programs),
                              traces=part.traces, runs=part.runs), part)
              for lines, part in parts.units()]
    for _, line, part in sorted(found, key=lambda x: x[0]):
        yield indent + line
        if part is None:
            continue
        if part.parts is not None:
            yield from _part_lines(part, indent + "  ")
        elif part.reasons and not part.programs:
            yield indent + "  " + text("explain_eager", reason=part.reasons[0])
        for program in part.programs:
            for line in _program_lines(program):
                yield indent + line


def _program_lines(program: Any) -> Iterator[str]:
    yield "  " + text("explain_graph")
    for line in str(program.trace.graph).splitlines():
        yield "    " + line
    yield "  " + text("explain_kernels")
    for name, moved, work in work_of(program.executor):
        yield "    " + text("explain_kernel", name=name, bytes=moved, flops=work)
    if program.back is not None:
        yield "  " + text("explain_back")
        for name, moved, work in work_of(program.back.executor):
            yield "    " + text("explain_kernel", name=name, bytes=moved, flops=work)
    yield "  " + text("explain_checks")
    for slot in program.slots:
        where = {"arg": f"argument {slot.where}", "grad": f"gradient of tensor {slot.where}",
                 "held": "a tensor held"}[slot.source]
        yield f"    {where}: {slot.dtype.name}{list(slot.shape)}"
    for entry in program.state.entries:
        names = [entry.place(i) for i in range(len(entry.held))] if entry.kind == "items" else [
            entry.place(-1)]
        yield "    " + ", ".join(dict.fromkeys(names))


def _homes(executor: Any) -> dict[int, int]:
    """Which unit each node runs in."""
    return {id(node): unit.number for unit in getattr(executor, "units", ())
            for node in unit.nodes}


def _drawing(graph: Graph, homes: dict[int, int]) -> str:
    places: dict[int, tuple[int, int]] = {}
    columns: dict[int, int] = {}
    for node in graph.nodes:
        depth = 1 + max([places[v.node.outputs[0].number][1] for v in node.values()], default=-1)
        column = columns.get(depth, 0)
        columns[depth] = column + 1
        for value in node.outputs:
            places[value.number] = (column, depth)
    parts = []
    for node in graph.nodes:
        for v in node.values():
            if node.outputs:
                parts.append(_edge(places[v.number], places[node.outputs[0].number]))
    parts += [_box(node, places[node.outputs[0].number], homes.get(id(node)))
              for node in graph.nodes if node.outputs]
    width = max(columns.values(), default=1) * (BOX_WIDTH + GAP) + GAP
    height = (max(columns, default=0) + 1) * (BOX_HEIGHT + 2 * GAP) + GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'font-family="monospace" font-size="11">{"".join(parts)}</svg>')


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    column, depth = place
    return GAP + column * (BOX_WIDTH + GAP), GAP + depth * (BOX_HEIGHT + 2 * GAP)


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x1, y1), (x2, y2) = _corner(start), _corner(end)
    half = BOX_WIDTH // 2
    return (f'<line x1="{x1 + half}" y1="{y1 + BOX_HEIGHT}" x2="{x2 + half}" y2="{y2}" '
            'stroke="#999"/>')


def _box(node: Node, place: tuple[int, int], home: int | None) -> str:
    x, y = _corner(place)
    colour = "#fff" if home is None else f"hsl({home * 67 % 360},70%,88%)"
    value = node.outputs[0]
    from html import escape  # only for a drawing

    label = escape(f"{value} {node.name} {value.dtype.name}{list(value.shape)}")
    return (f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" fill="{colour}" '
            f'stroke="#555"/><text x="{x + 6}" y="{y + 21}">{label}</text>')
