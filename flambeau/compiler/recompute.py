"""Cheap values computed again where they are needed late, instead of being kept: less memory.

A value is computed again where that costs nothing else: what it is made of is there anyway by
then, and all who need it late are elementwise or reductions, whose kernels take it up.
"""

from __future__ import annotations

from collections.abc import Iterable

from flambeau.compiler.access import is_view
from flambeau.compiler.elementwise import has_instructions, is_cheap
from flambeau.compiler.graph import Graph, Node, Value
from flambeau.compiler.groups import Group, Unit, reduction_of

__all__ = ["recompute"]

# Bytes alive at once from which memory is worth the trouble, and of a value that counts.
MUCH = 1 << 20
SMALL = 1 << 12
# How often the place where most is alive is looked for.
ROUNDS = 8
# How many nodes make one value again, and of how many times its bytes a source is nothing.
MOST_NODES = 8
FEW = 64


def recompute(graph: Graph, units: Iterable[Unit], wanted: Iterable[Value],
              changed: set[int]) -> bool:
    """Put nodes into ``graph`` that make values again behind the place where most are alive.

    ``units`` are what runs as one kernel each, ``wanted`` the values that are needed in the end,
    ``changed`` the inputs that are written. False where nothing was put in.
    """
    units = list(units)
    homes = {id(node): unit.number for unit in units for node in unit.nodes}
    fused = {id(node) for unit in units if isinstance(unit, Group) for node in unit.nodes}
    results, found = list(wanted), False
    for _ in range(ROUNDS):
        lives = _Lives(graph, homes, fused, results, changed)
        at, most = lives.peak()
        if most < MUCH or not lives.shorten(at):
            break
        found = True
    return found


class _Lives:
    """Between which nodes values are in memory, which is that of the value which views are of.

    ``homes`` has the kernel of each node; what only its own kernel reads is never in memory.
    ``fused`` are the nodes that kernels of several take up.
    """

    def __init__(self, graph: Graph, homes: dict[int, int], fused: set[int],
                 wanted: list[Value], changed: set[int]) -> None:
        self.graph = graph
        self.homes = homes
        self.fused = fused
        self.changed = changed
        # What is made again, and what that is made of: it stays.
        self.gone: set[int] = set()
        self.leant: set[int] = set()
        self.roots: dict[int, Value] = {}
        self.made: dict[int, int] = {}
        # Where each value, or a view of it, is used; where its memory is used last.
        self.users: dict[int, list[int]] = {}
        self.last: dict[int, int] = {}
        # What other kernels read than the one that makes it.
        self.kept: set[int] = set()
        for at, node in enumerate(graph.nodes):
            self._enter(at, node)
        self.wanted = {self.roots[v.number].number for v in wanted}
        self.last.update(dict.fromkeys(self.wanted, len(graph.nodes)))

    def _enter(self, at: int, node: Node) -> None:
        view = node.kind == "op" and is_view(node.outputs[0])
        for x in node.values():
            self.users.setdefault(x.number, []).append(at)
            root = self.roots[x.number]
            self.last[root.number] = at
            home = self.homes.get(id(root.node))
            if home is None or home != self.homes.get(id(node)):
                self.kept.add(root.number)
        for v in node.outputs:
            self.roots[v.number] = self.roots[node.values()[0].number] if view else v
            self.made[v.number] = at

    def peak(self) -> tuple[int, int]:
        """Behind which node most bytes are alive, and how many."""
        changes = [0] * (len(self.graph.nodes) + 2)
        for number, v in self.roots.items():
            if v.number == number and self._counts(v):
                changes[self.made[number]] += v.nbytes
                changes[self.last[number]] -= v.nbytes
        best, most, now = 0, 0, 0
        for at, change in enumerate(changes):
            now += change
            if now > most:
                best, most = at, now
        return best, most

    def _counts(self, v: Value) -> bool:
        return (v.number in self.kept and v.node.kind not in ("const", "input")
                and v.nbytes >= SMALL)

    def shorten(self, at: int) -> bool:
        """Compute again behind a place what is alive there and can be; whether there was any."""
        chosen: list[tuple[Value, list[int], list[Node]]] = []
        alive = [v for number, v in self.roots.items() if v.number == number and self._counts(v)
                 and self.made[number] <= at < self.last[number]]
        for v in sorted(alive, key=lambda v: -v.nbytes):
            late = self._late_users(v, at)
            cone = self._made_again(v, late[0]) if late else None
            if cone is not None:
                self.gone.add(v.number)
                chosen.append((v, late, cone))
        self._put_in(chosen)
        return bool(chosen)

    def _put_in(self, chosen: list[tuple[Value, list[int], list[Node]]]) -> None:
        """Make values again before their first late users, who all take what is made there."""
        added: dict[int, list[Node]] = {}
        for v, late, cone in chosen:
            nodes = _copies(self.graph, cone)
            added.setdefault(late[0], []).extend(nodes)
            (new,) = nodes[-1].outputs
            for place in late:
                node = self.graph.nodes[place]
                node.inputs = tuple([new if x is v else x for x in node.inputs])
        self.graph.nodes = [n for place, node in enumerate(self.graph.nodes)
                            for n in (*added.get(place, ()), node)]

    def _late_users(self, v: Value, at: int) -> list[int]:
        """Who uses a value behind a place; nobody where it cannot be made again for them."""
        stays = v.number in self.wanted or v.number in self.leant
        if stays or id(v.node) not in self.fused:
            return []
        if not (is_cheap(v.node) and has_instructions(v.node)):
            return []
        late = [place for place in self.users[v.number] if place > at]
        if not late or self.last[v.number] != late[-1]:
            return []  # a view is used later
        home = self.homes.get(id(v.node))
        if any([self.homes.get(id(self.graph.nodes[place])) == home for place in late]):
            return []
        nodes = [self.graph.nodes[place] for place in late]
        return late if all(map(_takes_up, nodes)) else []

    def _made_again(self, v: Value, first: int) -> list[Node] | None:
        """The nodes that make a value from what is in memory before a place, itself last.

        None where that takes many, or reads much that the node there does not read.
        """
        read = {self.roots[x.number].number for x in self.graph.nodes[first].values()}
        sources: dict[int, Value] = {}
        cone: dict[int, Node] = {}

        def reach(x: Value) -> bool:
            root = self.roots[x.number]
            if x is not v and (x.number in cone or self._is_there(root, first, v.nbytes)):
                sources[root.number] = root
                return True
            if x is not v and not (is_cheap(x.node) and has_instructions(x.node)):
                return False
            if not all(map(reach, x.node.values())) or len(cone) == MOST_NODES:
                return False
            cone[x.number] = x.node
            return True

        if not reach(v):
            return None
        more = [x.nbytes for x in sources.values() if x.number not in read and
                x.number not in cone and x.nbytes * FEW > v.nbytes]
        if sum(more) > v.nbytes:
            return None
        self.leant.update(sources)
        return list(cone.values())

    def _is_there(self, root: Value, first: int, nbytes: int) -> bool:
        """Whether memory can be read at a place, or takes few of these bytes."""
        node = root.node
        if node.kind == "const" or root.nbytes * FEW <= nbytes and root.number not in self.gone:
            return True
        if node.kind == "input" and node.params["at"] not in self.changed:
            return True
        return (root.number in self.kept and root.number not in self.gone
                and self.last.get(root.number, -1) >= first)


def _takes_up(node: Node) -> bool:
    """Whether the kernel of a node can compute an operand itself."""
    op = node.op
    if op is None or len(node.outputs) != 1:
        return False
    if op.kind == "pointwise" or op.name == "to_dtype":
        return has_instructions(node)
    return reduction_of(node) is not None


def _copies(graph: Graph, nodes: list[Node]) -> list[Node]:
    """Nodes that do the same once more, not yet among those of the graph."""
    found: dict[int, Value] = {}
    made = []
    for node in nodes:
        inputs = [found.get(x.number, x) if type(x) is Value else x for x in node.inputs]
        again = graph.add(node.kind, node.op, inputs, node.params, node.outputs)
        graph.again.add(id(again))
        made.append(graph.nodes.pop())
        found[node.outputs[0].number] = again.outputs[0]
    return made
