"""How many passes over a row a `Rows` program takes, and what each of them computes.

A reduction is done in the pass after the last one that its value waits for. A value that is dear to
compute and needed in several passes is kept meanwhile in the row of an output not yet written.
"""

from typing import NamedTuple

from flambeau.backends.llvm.program import INSTRUCTIONS, ROW_REDUCTIONS, Rows, Step

# what costs no more than storing and loading
CHEAP = frozenset({
    "add", "sub", "mul", "div", "neg", "abs", "square", "relu", "maximum", "minimum", "fma", "sqrt",
    "rsqrt", "reciprocal", "floor", "ceil", "trunc", "round", "eq", "ne", "lt", "le", "gt", "ge",
    "logical_and", "logical_or", "logical_not", "select",
})
DEAR = frozenset(INSTRUCTIONS) - CHEAP


class Pass(NamedTuple):
    """One walk along the row; pairs are (number of the output, number of the value).

    values: those of every element to compute, in order; found: those to read from an output's row;
    kept: those to leave in one; reductions: those finished here; after: values of the row that can
    be computed then.
    """

    values: tuple[int, ...]
    found: tuple[tuple[int, int], ...]
    kept: tuple[tuple[int, int], ...]
    reductions: tuple[int, ...]
    arrays: tuple[tuple[int, int], ...]
    sums: tuple[tuple[int, int], ...]
    after: tuple[int, ...]


class Plan(NamedTuple):
    """`by_row` says which values differ between rows, `before` what is computed of a row first."""

    by_row: tuple[bool, ...]
    before: tuple[int, ...]
    passes: tuple[Pass, ...]


def step_of(program: Rows, number: int) -> Step | None:
    """Return the step that makes a value; None for an input."""
    place = number - len(program.inputs)
    return None if place < 0 else program.steps[place]


def make_plan(program: Rows) -> Plan:
    """Return the passes of a program."""
    depths = _depths(program)
    count = 1 + max(depths)
    targets = [_targets(program, depths, turn) for turn in range(1, count + 1)]
    while targets and not any(targets[-1]):
        targets.pop()
    hosts = _choose_hosts(program, targets, depths)
    passes = []
    for turn, (reductions, arrays, sums) in enumerate(targets, 1):
        values = _needed(program, targets[turn - 1], _readable(hosts, turn))
        found = tuple((o, v) for v, (o, first) in hosts.items() if first < turn and v in values)
        computed = values - {v for _, v in found}
        own = {v for o, v in arrays}
        kept = tuple(
            (o, v) for v, (o, first) in hosts.items() if first == turn and v not in own
        )
        after = _row_values(program, depths, turn)
        passes.append(
            Pass(tuple(sorted(computed)), found, kept, reductions, arrays, sums, after)
        )
    return Plan(_by_row(program), _row_values(program, depths, 0), tuple(passes))


def _depths(program: Rows) -> list[int]:
    """After which pass every value can be had."""
    depths = [0] * len(program.inputs)
    for step in program.steps:
        depth = max((depths[number] for number in step.args), default=0)
        depths.append(depth + (step.name in ROW_REDUCTIONS))
    return depths


def _by_row(program: Rows) -> tuple[bool, ...]:
    found = [item.layout in ("array", "column") for item in program.inputs]
    for step in program.steps:
        own = step.name in ROW_REDUCTIONS or step.name == "row_number"
        found.append(own or any(found[number] for number in step.args))
    return tuple(found)


def _row_values(program: Rows, depths: list[int], turn: int) -> tuple[int, ...]:
    """The values of the row, reductions aside, that can be computed once `turn` passes are over."""
    first = len(program.inputs)
    return tuple(
        number
        for number, step in enumerate(program.steps, first)
        if depths[number] == turn
        and not program.by_element[number]
        and step.name not in ROW_REDUCTIONS
    )


Targets = tuple[tuple[int, ...], tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


def _targets(program: Rows, depths: list[int], turn: int) -> Targets:
    """The reductions, array outputs and sums over rows that a pass is for."""
    first = len(program.inputs)
    reductions = tuple(
        number
        for number, step in enumerate(program.steps, first)
        if step.name in ROW_REDUCTIONS and depths[number] == turn
    )
    stores: dict[str, list[tuple[int, int]]] = {"array": [], "row": [], "column": []}
    for place, output in enumerate(program.outputs):
        if depths[output.value] == turn - 1:
            stores[output.layout].append((place, output.value))
    return reductions, tuple(stores["array"]), tuple(stores["row"])


def _needed(program: Rows, targets: Targets, readable: set[int]) -> set[int]:
    """The values of every element that the targets need; what is readable needs nothing more."""
    reductions, arrays, sums = targets
    found: set[int] = set()
    waiting = [number for _, number in (*arrays, *sums)]
    for number in reductions:
        step = step_of(program, number)
        assert step is not None
        waiting += step.args
    while waiting:
        number = waiting.pop()
        if number in found or not program.by_element[number]:
            continue
        found.add(number)
        step = step_of(program, number)
        if step is not None and number not in readable:
            waiting += step.args
    return found


def _readable(hosts: dict[int, tuple[int, int]], turn: int) -> set[int]:
    return {number for number, (_, first) in hosts.items() if first < turn}


def _choose_hosts(
    program: Rows, targets: list[Targets], depths: list[int]
) -> dict[int, tuple[int, int]]:
    """Return, for values to keep between passes, the output whose row holds them and since when."""
    hosts: dict[int, tuple[int, int]] = {}
    free = {o for o, output in enumerate(program.outputs) if output.layout == "array"}
    for number in range(len(program.kinds) - 1, -1, -1):
        step = step_of(program, number)
        if step is None or step.name not in DEAR or not program.by_element[number]:
            continue
        turns = [
            turn
            for turn, wanted in enumerate(targets, 1)
            if number in _needed(program, wanted, _readable(hosts, turn))
        ]
        if len(turns) < 2:
            continue
        for place in sorted(free):
            output = program.outputs[place]
            stored = depths[output.value] + 1
            fits = program.kinds[output.value] == program.kinds[number] and stored >= turns[-1]
            if fits or output.value == number:
                hosts[number] = (place, turns[0])
                free.discard(place)
                break
    return hosts
