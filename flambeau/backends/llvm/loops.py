"""Loops and branches in the text of a function, with the values that they change."""

from collections.abc import Iterable

from flambeau.backends.llvm.emit import Emitter, Value


class Loop:
    """``for index in range(begin, end, step)``: open when made; `close` ends its body.

    `carried` values (of the lanes that the emitter has now) go from turn to turn: in the body,
    `values` are those of this turn; `close` takes the next turn's and returns the last one's.
    """

    def __init__(
        self,
        e: Emitter,
        begin: str | int,
        end: str | int,
        step: str | int = 1,
        carried: Iterable[Value] = (),
    ) -> None:
        self.e = e
        self.step = step
        self.name = e.fresh("loop")
        self.index = f"%{self.name}.index"
        self.starts = list(carried)
        self.types = [e.type(start.kind) for start in self.starts]
        self._entered_from = e.block
        self._begin = begin
        e.line(f"br label %{self.name}")
        e.label(self.name)
        self.values = [
            Value(f"%{self.name}.value{number}", start.kind)
            for number, start in enumerate(self.starts)
        ]
        self._phis = len(e.lines)
        e.lines += [""] * (1 + len(self.values))
        more = e.assign(f"icmp slt i64 {self.index}, {end}")
        e.line(f"br i1 {more}, label %{self.name}.body, label %{self.name}.done")
        e.label(f"{self.name}.body")

    def close(self, values: Iterable[Value] = ()) -> list[Value]:
        """End the body; returns the values as they are after the loop."""
        e = self.e
        after = e.assign(f"add i64 {self.index}, {self.step}")
        came, back = self._entered_from, e.block
        e.line(f"br label %{self.name}")
        phis = [f"  {self.index} = phi i64 [{self._begin}, %{came}], [{after}, %{back}]"]
        rows = zip(self.values, self.types, self.starts, values, strict=True)
        for value, kind, start, last in rows:
            ends = f"[{start.text}, %{came}], [{last.text}, %{back}]"
            phis.append(f"  {value.text} = phi {kind} {ends}")
        e.lines[self._phis : self._phis + len(phis)] = phis
        e.label(f"{self.name}.done")
        return self.values


class Branch:
    """``if condition``: open when made; `close` ends it and joins values from both ways."""

    def __init__(self, e: Emitter, condition: str) -> None:
        self.e = e
        self.name = e.fresh("if")
        self._entered_from = e.block
        e.line(f"br i1 {condition}, label %{self.name}, label %{self.name}.done")
        e.label(self.name)

    def close(self, inside: Iterable[Value] = (), outside: Iterable[Value] = ()) -> list[Value]:
        """End the branch; returns each value as it is `inside`, or `outside` where not taken."""
        e, came = self.e, self.e.block
        e.line(f"br label %{self.name}.done")
        e.label(f"{self.name}.done")
        joined = []
        for a, b in zip(inside, outside, strict=True):
            ends = f"[{a.text}, %{came}], [{b.text}, %{self._entered_from}]"
            joined.append(e.value(a.kind, f"phi {e.type(a.kind)} {ends}"))
        return joined
