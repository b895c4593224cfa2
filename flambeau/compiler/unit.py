"""A compiled function: its programs, and what happens when none fits a call."""

from __future__ import annotations

import functools
import gc
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any, NamedTuple
from weakref import WeakMethod

from flambeau.backends import large
from flambeau.backends.passing import in_passing
from flambeau.base.messages import text
from flambeau.base.pytree import tree_flatten, tree_map, tree_unflatten
from flambeau.compiler.history import is_spent
from flambeau.compiler.interpreter import OtherSizes, OutOfRange
from flambeau.compiler.live import (
    LiveFloat,
    Place,
    Watched,
    agrees,
    changed_floats,
    frozen,
    in_place,
    live,
    now,
    place_of,
    settled,
    signature,
)
from flambeau.compiler.live_index import LiveIndex, index_names
from flambeau.compiler.observer import Observer
from flambeau.compiler.program import (
    Mismatch,
    Program,
    environment,
    expect_native,
    has_no_hooks,
)
from flambeau.compiler.repeatable import shared_results, unrepeatable
from flambeau.compiler.results import FAILED, MISSED, RAISED
from flambeau.compiler.stance import STANCE, UNITS
from flambeau.compiler.state import State, state_of
from flambeau.compiler.trace import Made, Trace, traced
from flambeau.compiler.tracer import Break
from flambeau.compiler.watch import WATCH
from flambeau.core.dispatch import saved_hooks
from flambeau.core.modes import FUNCTION_MODES, MODES
from flambeau.core.node import LEAF
from flambeau.core.tensor import Tensor

__all__ = ["LIMIT", "Reason", "Unit"]

# How many programs one function may have.
LIMIT = 8
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
# How many calls in a row may do what could be for once.
PATIENCE = 3
# From which call on a function that runs in parts is tried as a whole again.
RARE = 64


class Reason(NamedTuple):
    """Why a call is not one program: where in the function, or about which names, if known."""

    text: str
    place: tuple | None = None
    names: tuple[str, ...] = ()


class Unit:
    """What ``compile`` makes of a function.

    ``parted`` makes the parts of a unit that is not one program, or gives None.
    """

    # Whether an error leaves everything as it was before the call.
    undoes = True

    def __init__(self, function: Callable, fullgraph: bool = False, limit: int = LIMIT,
                 name: str | None = None, parted: Callable[[Unit], Any] | None = None) -> None:
        self.function = function
        self.body = body_of(function)
        self.parted = parted
        self.parts: Any = None
        self.fullgraph = fullgraph
        self.limit = limit
        self.name = name or getattr(function, "__qualname__", type(function).__name__)
        self.programs: list[Program] = []
        self.observer: Observer | None = None
        self.reasons: list[str] = []
        self.retraces: list[str] = []
        self.failures = 0
        self.calls = 0
        self.traces = 0
        self.slow_runs = 0
        # The quick way of the program used last, and how many arguments it takes.
        self.fast: Callable[..., Any] = _missed
        self.count = -1
        self.told: set[str] = set()
        # Floats that have changed between calls, and those that cannot be inputs of a program.
        self.live: dict[tuple, Place] = {}
        self.fixed: set[tuple] = set()
        UNITS.add(self)

    def forget(self) -> None:
        """Drop all programs."""
        self.programs = []
        self.observer = self.parts = None
        self.failures = self.calls = 0
        self.live, self.fixed = {}, set()
        self._choose()

    def __call__(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        if STANCE.name == "force_eager":
            return self._as_it_is(args, kwargs)
        if not kwargs:
            result = self._run_quickly(args)
            if result is not MISSED:
                return self._undoable(args, kwargs) if result is FAILED else result
        if MODES.tracer is not None or MODES.depth or saved_hooks or FUNCTION_MODES:
            return self._as_it_is(args, kwargs)
        leaves, spec = tree_flatten((args, kwargs))
        if kwargs or len(leaves) != len(args):
            result = self._run_quickly(leaves, spec)
            if result is not MISSED:
                return self._undoable(args, kwargs) if result is FAILED else result
        why = ""
        for at, program in enumerate(self.programs):
            try:
                found = program.bind(leaves, spec)
            except Mismatch as mismatch:
                why = why or str(mismatch)
                continue
            if at or program.stale:
                self._put_first(at)
            try:
                result = program.run(*found)
            except (OutOfRange, *RAISED) as error:
                # Nothing was written yet. Python says what is wrong, in eager mode's words.
                if isinstance(error, OtherSizes):
                    self._count_misfit(program)
                break
            self.slow_runs += 1
            return result
        else:
            return self._trace(args, kwargs, leaves, spec, why)
        return self._undoable(args, kwargs)

    def _run_quickly(self, leaves: Sequence[Any], spec: Any = None) -> Any:
        """What a quick call of the first program that fits gives, or FAILED; else MISSED.

        ``spec`` is the nesting of arguments of which some are nested or come by name.
        """
        for at, program in enumerate(self.programs):
            if program.fast is None or len(leaves) != len(program.constants):
                continue
            if not program.plain if spec is None else program.spec != spec:
                continue
            result = program.fast(*leaves)
            if result is not MISSED:
                if at and result is not FAILED:
                    self._put_first(at)
                return result
        return MISSED

    @property
    def runs(self) -> int:
        """How many calls ran without Python."""
        return self.slow_runs + sum([p.runs for p in self.programs])

    def _put_first(self, at: int) -> None:
        programs = self.programs.copy()
        programs.insert(0, programs.pop(at))
        self.programs = programs
        self._choose()

    def _choose(self) -> None:
        """Try the first program first from now on."""
        program = self.programs[0] if self.programs else None
        fast = None if program is None or not program.plain else program.fast
        self.fast = _missed if fast is None else fast
        self.count = -1 if fast is None or program is None else len(program.constants)

    def _count_misfit(self, program: Program) -> None:
        """Drop a program whose sizes follow from values that keep changing."""
        program.misfits += 1
        if program.misfits >= PATIENCE:
            self.programs = [p for p in self.programs if p is not program]
            self._choose()
            self.reasons = [text("compile_sizes")]
            self._give_way([Reason(self.reasons[0])])

    def _as_it_is(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The function itself."""
        return self.function(*args, **kwargs)

    def _in_python(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The function, whose parts may run compiled."""
        if self.parts is None:
            return self._as_it_is(args, kwargs)
        return self.parts.run(*args, **kwargs)

    def _undoable(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run in Python, so that an error leaves everything as it was."""
        if not self.undoes:
            return self._in_python(args, kwargs)
        with WATCH.lock:
            return traced(lambda: self.function(*args, **kwargs))[0]

    def _trace(self, args: tuple, kwargs: dict[str, Any], leaves: list, spec: Any,
               why: str) -> Any:
        if STANCE.name == "fail_on_recompile" and self.programs:
            raise RuntimeError(f"Detected recompile when torch.compile stance is "
                               f"'fail_on_recompile'. {self.name}: {why}")
        if STANCE.name == "eager_on_recompile":
            return self._in_python(args, kwargs)
        self.calls += 1
        if not self._is_due(leaves) or not WATCH.lock.acquire(blocking=False):
            return self._in_python(args, kwargs)
        try:
            if large.started() and large.available():
                expect_native()
            self.traces += 1
            self._find_live(leaves, spec, self._indices(args, kwargs, leaves))
            if why:
                self.retraces.append(why)
            return self._traced(args, kwargs, leaves, spec)
        finally:
            WATCH.lock.release()

    def _find_live(self, leaves: list, spec: Any, indices: set[int]) -> None:
        """Note the numbers that differ from what they were in the last program.

        They are floats, and of the arguments those integers that only index.
        """
        if not self.programs:
            return
        program = self.programs[0]
        for place in changed_floats(program.state):
            if place.mark not in self.fixed:
                self.live.setdefault(place.mark, place)
        if program.spec != spec or len(program.constants) != len(leaves):
            return
        for i, (a, b) in enumerate(zip(program.constants, leaves)):
            kind = type(a)
            if kind is not type(b) or kind not in (float, int) or a == b:
                continue
            place = Place("argument", None, i, i, kind)
            if (kind is float or i in indices) and place.mark not in self.fixed:
                self.live.setdefault(place.mark, place)

    def _indices(self, args: tuple, kwargs: dict[str, Any], leaves: list) -> set[int]:
        """The leaves, by number, that the function does nothing with but to index."""
        given = [*args, *kwargs.values()]
        if self.body is None or not any([type(x) is int for x in given]) or (
                len(given) != len(leaves) or any([a is not b for a, b in zip(given, leaves)])):
            return set()
        first = int(not isinstance(self.function, FunctionType))
        names = self.body.co_varnames[first:self.body.co_argcount][:len(args)]
        indexing = self._index_names
        found = [*names, *[""] * (len(args) - len(names)), *kwargs]
        return {at for at, name in enumerate(found) if name in indexing}

    @functools.cached_property
    def _index_names(self) -> set[str]:
        return set() if self.body is None else index_names(self.body)

    def _fixes_indices(self, trace: Trace, passed: Sequence[Any]) -> bool:
        """Whether the integers that change are constants from here on: not only tensors used them.
        """
        if not (trace.breaks or trace.ends is not None or any(
                [x.leaked for x in passed if type(x) is LiveIndex])):
            return False
        marks = [mark for mark, p in self.live.items() if p.held is int]
        self.fixed.update(marks)
        for mark in marks:
            del self.live[mark]
        return True

    def _stays_live(self, trace: Trace, watched: Watched, observer: Observer,
                    places: Sequence[Place], count: int) -> bool:
        """Whether the floats that change are inputs now; else they are constants from here on.

        So many numbers that change come before them.
        """
        before = [0.0] * count
        same = [p for p in self.programs if not _floats_of(p) and agrees(
            p.print, signature(trace.graph), [*before, *_values_of(p, places)])]
        if watched.leaked or observer.maths or trace.ends is not None:
            marks = [mark for mark, p in self.live.items() if p.held is float]
            self.fixed.update(marks)
            for mark in marks:
                del self.live[mark]
            return False
        return bool(same) or self._has_live(trace, places)

    def _has_live(self, trace: Trace, places: Sequence[Place]) -> bool:
        """Whether an earlier program with the same inputs was traced alike."""
        print_ = signature(trace.graph)
        marks = [p.mark for p in places]
        return any([[x.mark for x in _floats_of(p)] == marks and _same_kinds(p.print, print_)
                    for p in self.programs])

    def _is_due(self, leaves: list) -> bool:
        """After failures it is tried again ever more seldom, and where parts run far more so."""
        if len(self.programs) >= self.limit:
            self._tell("compile_many", count=self.limit)
            return False
        if self.parts is not None and self.calls < RARE:
            return False
        return self.failures < PATIENCE or self.calls & (self.calls - 1) == 0

    def _traced(self, args: tuple, kwargs: dict[str, Any], leaves: list, spec: Any) -> Any:
        objects = [x for x in leaves if not isinstance(x, Tensor)]
        known = self.observer
        before = None if known is None else state_of(known, self.function, objects)
        env = environment()
        observer = Observer(self.body)
        found = [p for p in self.live.values() if p.is_there(leaves)]
        at = self._indices(args, kwargs, leaves)
        indices = [p for p in found if p.held is int and p.key in at]
        floats = [p for p in found if p.held is float]
        # Without the floats the indices keep their numbers.
        places, watched = [*indices, *floats], Watched()
        args, kwargs = _with_live(leaves, spec, places, watched, args, kwargs)
        passed = tree_flatten((args, kwargs))[0].copy()
        with observer, in_place(places, watched), in_passing():
            result, trace = traced(lambda: self.function(*args, **kwargs),
                                   getattr(self.function, "__code__", None), self.body,
                                   self.undoes, lambda: known is None and observer.stores)
        if any([type(x) is LiveFloat for x in trace.outputs]):
            # A program's result has the numbers of its trace.
            watched.leaked = True
            trace.outputs = [settled(x) for x in trace.outputs]
            result = tree_map(settled, result)
            for made in trace.objects.values():
                vars(made).update({k: tree_map(settled, v) for k, v in vars(made).items()})
        print_ = None
        if indices and self._fixes_indices(trace, passed):
            if trace.breaks:
                return result
            print_, places, floats = frozen(trace, now(places, leaves) or (), True), [], []
        if floats and not self._stays_live(trace, watched, observer, floats, len(indices)):
            # A program for the numbers as they are: a later trace may be compared with it.
            print_ = frozen(trace, now(places, leaves) or ())
            places = indices
        reasons = _reasons(observer, trace, env)
        if _changed((args, kwargs), passed, spec):
            reasons.append(Reason(text("compile_effect", place="an argument")))
        # What a first call sets up, later ones find done.
        passing = [_reason(b) for b in trace.breaks if b.key in _PASSING]
        if observer.stores:
            passing += self._side_effects(known, before, observer, objects)
        self.observer = observer
        state = state_of(observer, self.function, objects)
        gaps = list(state.gaps)
        if any([isinstance(x, Tensor) and x._node is LEAF and not has_no_hooks(x)
                for x in leaves]):
            gaps.append("hooks of an argument")
        reasons += [Reason(text("compile_gap", what=gap), None, self._names(gap)) for gap in gaps]
        reasons += self._checked(result, trace, leaves, args, kwargs, state)
        if not reasons and not passing:
            with _no_collection():
                program = Program(trace, state, env, leaves, spec, places,
                                  watched.checks if places else ())
            program.print = program.print if print_ is None else print_
            passing = [Reason(text("compile_unreachable", shape=list(s.shape)))
                       for s in program.slots
                       if s.source == "held" and id(s.tensor) not in state.tensors]
            if not passing:
                state.forget()
                program.renewed = WeakMethod(self._choose)
                self.programs = [program, *self.programs]
                self.failures = 0
                self._choose()
                return result
        self.reasons = [r.text for r in reasons + passing]
        self.failures += 1
        if reasons or self.failures >= PATIENCE:
            self._give_way(reasons + passing)
        return result

    def _checked(self, result: Any, trace: Trace, leaves: list, args: tuple,
                 kwargs: dict[str, Any], state: State) -> list[Reason]:
        """Why a later call could not give what this one gave."""
        known = {*state.objects, *map(id, leaves)}
        found = [Reason(text("compile_anew", kind=kind))
                 for _, kind in unrepeatable([result], (args, kwargs), known,
                                                 trace.objects)]
        if trace.ends is not None:
            found += [Reason(text("compile_views")) for _ in shared_results(trace)]
        return found

    def _names(self, path: str) -> tuple[str, ...]:
        """The names that the function may use for what is at ``path``."""
        return _names_in(path)

    def _give_way(self, reasons: list[Reason]) -> None:
        """Run in parts from now on, or as it is."""
        if self.parts is None and self.parted is not None and not self.fullgraph:
            self.parts = self.parted(self)
        if self.parts is not None and not self.parts.blame(reasons):
            self.parts = None
        self.failures = max(self.failures, PATIENCE)
        self._tell("compile_eager" if self.parts is None else "compile_parts",
                   reason=reasons[0].text)

    def _side_effects(self, known: Observer | None, before: State | None, observer: Observer,
                      objects: Sequence[Any]) -> list[Reason]:
        """Why what the code stores keeps the call from being left out."""
        if known is None or before is None or not known.covers(observer):
            return [Reason(WAIT)]
        after = state_of(known, self.function, objects)
        return [Reason(text("compile_effect", place=place), None, self._names(place))
                for place, _, _ in before.differences(after)[:1]]

    def _tell(self, key: str, **facts: Any) -> None:
        said = text(key, name=self.name, **facts)
        if self.fullgraph and key == "compile_eager":
            raise RuntimeError(said)
        if key not in self.told:
            self.told.add(key)
            warnings.warn(said, RuntimeWarning, stacklevel=_outside())


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let nothing search for garbage while very many objects are made that stay."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _outside() -> int:
    """How many frames up the compiled function was called."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    return level


def _has_history(edge: Any) -> bool:
    return edge is not None and edge is not LEAF and not is_spent(edge)


def _floats_of(program: Program) -> list[Place]:
    return [p for p in program.places if p.held is float]


def _values_of(program: Program, places: Iterable[Place]) -> list[float]:
    """What the numbers in ``places`` were when a program was traced."""
    held = {place.mark: value for entry in program.state.entries
            for i, value in enumerate(entry.held) for place in [place_of(entry, i)]
            if place is not None}
    found = []
    missing = float("nan")
    for p in places:
        if p.kind != "argument":
            found.append(held.get(p.mark, missing))
        else:
            # calls of other arguments have something else there
            found.append(program.constants[p.key] if p.is_there(program.constants) else missing)
    return found


def _same_kinds(before: list[tuple], after: list[tuple]) -> bool:
    """Whether two traces with live numbers differ in nothing."""
    return len(before) == len(after) and all([
        a[:2] == b[:2] and a[3] == b[3] and len(a[2]) == len(b[2])
        and all([callable(x) and callable(y) or x == y for x, y in zip(a[2], b[2])])
        for a, b in zip(before, after)])


def _with_live(leaves: list, spec: Any, places: Sequence[Place], watched: Watched, args: tuple,
               kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments, with live floats for those that keep changing."""
    if not any([p.kind == "argument" for p in places]):
        return args, kwargs
    changed = list(leaves)
    for number, p in enumerate(places):
        if p.kind == "argument" and p.held is int:
            changed[p.key] = LiveIndex(changed[p.key], number)
        elif p.kind == "argument" and p.key < len(changed) and type(changed[p.key]) is float:
            changed[p.key] = live(changed[p.key], number, watched)
    return tree_unflatten(changed, spec)


def _changed(tree: Any, leaves: Sequence[Any], spec: Any) -> bool:
    """Whether the containers among the arguments hold something else than before the call."""
    now, nesting = tree_flatten(tree)
    return nesting != spec or any([a is not b for a, b in zip(now, leaves)])


def _missed(*args: Any) -> Any:
    return MISSED


WAIT = "its state is looked at before the next call"
_PASSING = ("escape", "history")


def _reasons(observer: Observer, trace: Trace, env: tuple) -> list[Reason]:
    found = []
    found += [_reason(b) for b in trace.breaks if b.key not in _PASSING]
    for call in observer.calls:
        found.append(Reason(_with_site(text("compile_call", name=call.name), call.site),
                            call.place))
    if environment() != env:
        found.append(Reason(text("compile_mode")))
    live = [] if trace.ends is not None else trace.outputs
    for x in [*live, *[g for _, g in trace.grads.values()]]:
        if type(x) is Made and not x.memory.captures and _has_history(x.edge):
            found.append(Reason(text("compile_history")))
    return found


def _reason(b: Break) -> Reason:
    return Reason(_with_site(text(f"compile_{b.key}", **b.facts), b.site), b.place)


def _names_in(path: str) -> tuple[str, ...]:
    """The last name of a path such as ``net.layers[0].weight``, but those of arguments."""
    names = re.findall(r"[A-Za-z_]\w*", re.sub(r"\[[^]]*\]|\.__dict__|argument \d+|, .*", "", path))
    return tuple(names[-1:])


def body_of(function: Any) -> Any:
    """The code that a function, or the forward of a module, has in Python; else None."""
    if hasattr(function, "named_parameters") and hasattr(function, "forward"):
        function = function.forward
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _with_site(reason: str, site: dict[str, Any] | None) -> str:
    return reason if site is None else f"{reason} ({text('at', **site)})"
