"""Which nodes run as one kernel: elementwise ones and reductions over the same elements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flambeau.compiler.access import Access, access_of, broadcast_access, is_view
from flambeau.compiler.elementwise import has_instructions
from flambeau.compiler.graph import Graph, Node, Scalar, Value
from flambeau.compiler.layouts import Layout, layouts_of
from flambeau.core.formulas import KINDS, STORED

__all__ = ["FEW_ROWS", "Group", "Operand", "Unit", "grouped", "has_few_long_rows", "reduction_of"]

# Rows that are so long are shared by threads where there are fewer: not in one kernel.
LONG_ROW, FEW_ROWS = 1 << 15, 8
# What one kernel may hold.
MOST_NODES = 96
MOST_POINTERS = 28
# Columns, and rows of one unit, up to which a sum in float32 is one loop.
LONGEST_ROW = 4096
MOST_ROWS = 1 << 18
_REDUCTIONS = {"sum": "row_sum", "mean": "row_sum", "amax": "row_max", "amin": "row_min",
               "sum_all": "row_sum", "mean_all": "row_sum"}


class Unit:
    """What runs at once: one node, or a `Group`."""

    def __init__(self, number: int, nodes: list[Node]) -> None:
        self.number = number
        self.nodes = nodes
        # The units that must run before, directly or not, as bits.
        self.before = 0
        # Whether this one must run before another.
        self.needed = False


class Operand:
    """One use of a value by a node of a group: the access, and how it is read."""

    __slots__ = ("access", "layout")

    def __init__(self, access: Access, layout: str) -> None:
        self.access = access
        self.layout = layout


class Group(Unit):
    """Nodes over one matrix of ``size`` elements in rows of ``columns`` (0: not decided).

    ``layouts`` says how each value made here lies: "array", "column" (one a row) or "row" (the
    sum over all rows, which only later units can use). ``operands`` has the uses by node.
    """

    def __init__(self, number: int, size: int) -> None:
        super().__init__(number, [])
        self.size = size
        self.columns = 0
        self.layouts: dict[int, str] = {}
        self.operands: dict[int, list[Operand | Scalar]] = {}
        self.pointers: set[tuple] = set()

    @property
    def reduces(self) -> bool:
        """Whether rows matter: something is reduced, or there is one value a row."""
        return any([layout != "array" for layout in self.layouts.values()])


def has_few_long_rows(rows: int, columns: int) -> bool:
    """Whether rows are left to the kernels of eager mode, which share each among threads."""
    return columns > LONG_ROW and rows < FEW_ROWS


def reduction_of(node: Node) -> tuple[str, int, bool] | None:
    """Of a reduction: the row reduction, the columns, and whether rows are what is summed."""
    if node.op is None or node.op.name not in _REDUCTIONS or node.params.get("dtype"):
        return None
    (x,) = node.values()
    if not x.size or x.dtype not in KINDS or x.dtype.kind == "b":
        return None
    if x.dtype != node.outputs[0].dtype:
        return None
    found = _reduction_over(node, x)
    if found is None:
        return None
    name, columns, by_rows = found
    if not name.endswith("sum"):
        return None if has_few_long_rows(x.size // columns, columns) else found
    most = MOST_ROWS if by_rows else LONGEST_ROW
    return found if (x.size // columns if by_rows else columns) <= most else None


def _reduction_over(node: Node, x: Value) -> tuple[str, int, bool] | None:
    assert node.op is not None
    step = _REDUCTIONS[node.op.name]
    if node.op.name.endswith("_all"):
        return step, x.size, False
    real = [i for i, n in enumerate(x.shape) if n != 1]
    dims = [i for i in real if i in node.params["dims"]]
    if not dims:
        return None
    columns = math.prod([x.shape[i] for i in dims])
    if dims == real[len(real) - len(dims):]:
        return step, columns, False
    if dims == real[:len(dims)] and node.op.name == "sum" and x.dtype.kind == "f":
        return step, x.size // columns, True
    return None


class _Grouping:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.known: dict[int, Access] = {}
        self.units: list[Unit] = []
        self.home: dict[int, Unit] = {}
        # Per value the groups that read it from memory, and where each node stands.
        self.readers: dict[int, list[Group]] = {}
        self.places = {id(n): i for i, n in enumerate(graph.nodes)}

    def access(self, value: Value) -> Access:
        return self.known.get(value.number) or access_of(value, self.known)

    def run(self) -> list[Unit]:
        for node in self.graph.nodes:
            if node.kind in ("input", "const"):
                continue
            if node.kind == "op" and is_view(node.outputs[0]):
                self._place_views(node)
            elif not self._fuse(node):
                self._alone(node)
        return [u for u in self.units if u.nodes]

    def _place_views(self, node: Node) -> None:
        """A view that strides cannot express is copied, as a unit of its own."""
        if any([self.access(v).root is v for v in node.outputs]):
            self._alone(node)

    def _alone(self, node: Node) -> None:
        self._enter(self._new_unit(Unit(len(self.units), [])), node, node.values())

    def _new_unit(self, unit: Unit) -> Any:
        self.units.append(unit)
        return unit

    def _producers(self, values: Iterable[Value]) -> Iterator[Unit]:
        for value in values:
            unit = self.home.get(self.access(value).root.number)
            if unit is not None:
                yield unit

    def _enter(self, unit: Unit, node: Node, values: Iterable[Value]) -> None:
        unit.nodes.append(node)
        added = 0
        for producer in self._producers(values):
            if producer is not unit:
                added |= producer.before | 1 << producer.number
                producer.needed = True
        for value in node.outputs:
            self.home[value.number] = unit
        if added & ~unit.before:
            unit.before |= added
            if not unit.needed:
                return
            mark = 1 << unit.number
            for later in self.units:
                if later.before & mark:
                    later.before |= added

    def _can_join(self, group: Group, values: Iterable[Value]) -> bool:
        """Whether no operand is made by a unit that needs the group's own results."""
        mark = 1 << group.number
        return not any([p.before & mark for p in self._producers(values) if p is not group])

    # Fusing

    def _fuse(self, node: Node) -> bool:
        wanted = _Wanted.of(self, node)
        if wanted is None:
            return False
        values = list(node.values())
        candidates = self._candidates(values)
        if id(node) in self.graph.again:
            candidates = [g for g in candidates if self._is_again(g, values)]
        for group in candidates:
            placed = wanted.placed(group)
            if placed is not None and self._can_join(group, values):
                self._join(group, node, placed, values)
                for other in candidates:
                    if other is not group and self.units[other.number] is other:
                        self._merge(group, other)
                return True
        group = Group(len(self.units), wanted.size)
        placed = wanted.placed(group)
        if placed is None:
            return False
        self._new_unit(group)
        self._join(group, node, placed, values)
        return True

    def _is_again(self, group: Group, values: Iterable[Value]) -> bool:
        """Whether a group makes operands, and all that it makes is made once more."""
        return group in self._producers(values) and all(
            [id(n) in self.graph.again for n in group.nodes])

    def _candidates(self, values: Sequence[Value]) -> list[Group]:
        """Groups that make an operand, the latest first, and then those that read one."""
        found = [u for u in self._producers(values) if isinstance(u, Group)]
        makers = sorted(dict.fromkeys(found), key=lambda u: -u.number)
        roots = [self.access(v).root.number for v in values if v.size > 1]
        readers = [g for r in roots for g in self.readers.get(r, ())
                   if self.units[g.number] is g]
        return [g for g in dict.fromkeys([*makers, *readers]) if len(g.nodes) < MOST_NODES]

    def _merge(self, group: Group, other: Group) -> None:
        """Make one group of two, where they are over the same elements and nothing is between."""
        if (group.size != other.size or len(group.nodes) + len(other.nodes) > MOST_NODES
                or group.columns and other.columns and group.columns != other.columns):
            return
        columns = group.columns or other.columns
        if not (_reads_made(group, other, columns) and _reads_made(other, group, columns)):
            return
        if len(group.pointers | other.pointers) > MOST_POINTERS or self._apart(group, other):
            return
        group.nodes = sorted([*group.nodes, *other.nodes], key=lambda n: self.places[id(n)])
        group.columns = columns
        group.layouts.update(other.layouts)
        group.operands.update(other.operands)
        group.pointers = {x for x in group.pointers | other.pointers
                          if x[0] not in group.layouts}
        self._move(group, other)

    def _apart(self, group: Group, other: Group) -> bool:
        """Whether a third unit needs one of them and is needed by the other."""
        if not (group.needed and other.before or other.needed and group.before):
            return False
        return self._between(group, other) or self._between(other, group)

    def _between(self, first: Group, last: Group) -> bool:
        """Whether a third unit needs the first and is needed by the last."""
        mark, left = 1 << first.number, last.before
        if not left & mark:
            return False
        left &= ~mark
        while left:
            number = left.bit_length() - 1
            if self.units[number].before & mark:
                return True
            left &= ~(1 << number)
        return False

    def _move(self, group: Group, other: Group) -> None:
        """Let ``group`` stand for ``other``, which is empty from now on."""
        a, b = 1 << group.number, 1 << other.number
        group.before = (group.before | other.before) & ~(a | b)
        group.needed |= other.needed
        for node in other.nodes:
            for value in node.outputs:
                self.home[value.number] = group
        self.units[other.number] = Unit(other.number, [])
        if not group.needed:
            return
        for u in self.units:
            if u.before & (a | b):
                u.before = (u.before | a | group.before) & ~b

    def _join(self, group: Group, node: Node, placed: _Placed, values: Iterable[Value]) -> None:
        group.columns = placed.columns
        group.operands[id(node)] = placed.operands
        group.layouts[node.outputs[0].number] = placed.layout
        group.pointers.update(placed.pointers)
        for number, _, _ in placed.pointers:
            self.readers.setdefault(number, []).append(group)
        self._enter(group, node, values)


class _Placed:
    """How a node lies in a group."""

    def __init__(self, columns: int, layout: str, operands: list, pointers: set) -> None:
        self.columns = columns
        self.layout = layout
        self.operands = operands
        self.pointers = pointers


class _Wanted:
    """What a node needs of a group: elements, and per operand the ways to read it."""

    def __init__(self, grouping: _Grouping, node: Node, size: int, shape: tuple[int, ...],
                 columns: int, by_rows: bool) -> None:
        self.grouping = grouping
        self.node = node
        self.size = size
        self.columns = columns
        self.by_rows = by_rows
        self.reduces = columns > 0
        self.operands: list[Any] = []
        for x in node.inputs:
            if type(x) is Value:
                access = broadcast_access(grouping.access(x), shape)
                self.operands.append((access, layouts_of(access)))
            else:
                self.operands.append(x)

    @classmethod
    def of(cls, grouping: _Grouping, node: Node) -> _Wanted | None:
        """What ``node`` needs; None where it is no node for a group."""
        if node.kind != "op" or node.op is None or len(node.outputs) != 1:
            return None
        out = node.outputs[0]
        if node.op.kind == "pointwise" or node.op.name == "to_dtype":
            if not out.size or not has_instructions(node):
                return None
            return cls(grouping, node, out.size, out.shape, 0, False)
        found = reduction_of(node)
        if found is None:
            return None
        (x,) = node.values()
        _, columns, by_rows = found
        return cls(grouping, node, x.size, x.shape, columns, by_rows)

    def placed(self, group: Group) -> _Placed | None:
        """How the node lies in ``group``; None where it does not fit."""
        columns = group.columns
        if self.size == group.size:
            if self.reduces:
                if columns not in (0, self.columns):
                    return None
                columns = self.columns
            return self._wide(group, columns)
        if columns and self.size * columns == group.size and not self.reduces:
            return self._narrow(group)
        return None

    def _wide(self, group: Group, columns: int) -> _Placed | None:
        operands, pointers = [], set()
        for x in self.operands:
            if not isinstance(x, tuple):
                operands.append(x)
                continue
            chosen = self._choose(group, columns, *x)
            if chosen is None:
                return None
            layout, columns = chosen
            if self.reduces and layout != "array":
                return None
            operands.append(Operand(x[0], layout))
            if x[0].root.number not in group.layouts:
                pointers.add((x[0].root.number, x[0].offset, layout))
        layout = "array"
        if self.reduces:
            layout = "row" if self.by_rows else "column"
        if len(group.pointers | pointers) + len(group.nodes) // 4 > MOST_POINTERS:
            return None
        return _Placed(columns, layout, operands, pointers)

    def _choose(self, group: Group, columns: int, access: Access,
                ways: Sequence[Layout]) -> tuple[str, int] | None:
        own = group.layouts.get(access.root.number)
        for way in ways:
            if way.columns and columns and way.columns != columns:
                continue
            now = columns or way.columns
            if own is None:
                if access.root.dtype in STORED:
                    return way.name, now
            elif group.size == 1:
                return own, now
            elif access.offset == 0 and access.root.size == _own_size(group, own, now):
                if own == way.name or own == "column" and _one_row(group, now) and (
                        way.name == "scalar"):
                    return own, now
        return None

    def _narrow(self, group: Group) -> _Placed | None:
        """One value a row: operands are values of rows, or scalars."""
        operands, pointers = [], set()
        for x in self.operands:
            if not isinstance(x, tuple):
                operands.append(x)
                continue
            access, ways = x
            own = group.layouts.get(access.root.number)
            name = ways[0].name if ways else ""
            if name == "array":
                name = "column"
            if own is not None:
                if own != "column" or access.offset or name not in ("column", "scalar"):
                    return None
                if name == "scalar" and not _one_row(group, group.columns):
                    return None
                name = "column"
            elif name not in ("column", "scalar") or access.root.dtype not in STORED:
                return None
            else:
                pointers.add((access.root.number, access.offset, name))
            operands.append(Operand(access, name))
        return _Placed(group.columns, "column", operands, pointers)


def _reads_made(reader: Group, maker: Group, columns: int) -> bool:
    """Whether ``reader`` could find what it reads of ``maker`` in one kernel with it."""
    for operands in reader.operands.values():
        for x in operands:
            if not isinstance(x, Operand):
                continue
            own = maker.layouts.get(x.access.root.number)
            if own is None:
                continue
            one = own == "column" and x.layout == "scalar" and maker.size == columns
            if own == "row" or x.access.offset or own != x.layout and not one:
                return False
    return True


def _one_row(group: Group, columns: int) -> bool:
    return group.size == columns


def _own_size(group: Group, layout: str, columns: int) -> int:
    return group.size // columns if layout == "column" else group.size


def grouped(graph: Graph) -> tuple[list[Unit], dict[int, Access]]:
    """The units of a graph, and how its values lie."""
    grouping = _Grouping(graph)
    return grouping.run(), grouping.known
