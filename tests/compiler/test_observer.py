"""What code is found to read and change, from its instructions, is what `dis` finds."""

from __future__ import annotations

import dis
import inspect
import types

import numpy as np

import flambeau.compiler.state as state
import flambeau.nn.modules.module as module
import flambeau.optim.adam as adam
from flambeau.compiler import observer

GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME")


def codes_of(source: types.ModuleType) -> list[types.CodeType]:
    """The code of a module, and of all that is written in it."""
    text = inspect.getsource(source)
    return list(observer.nested_codes(compile(text, source.__name__, "exec")))


def test_code_is_read_as_dis_reads_it() -> None:
    many = "\n".join([f"a{i} = b{i}" for i in range(600)]) + "\nx.y = z"
    codes = [c for source in (state, module, adam, dis, np.lib.format) for c in codes_of(source)]
    codes.append(compile(many, "many names", "exec"))
    for code in codes:
        found = observer.analysed(code)
        steps = list(dis.get_instructions(code))
        assert found.globals == tuple(dict.fromkeys(
            [s.argval for s in steps if s.opname in GLOBALS])), code
        stores = any([s.opname in observer._STORES or s.opname == "STORE_DEREF"
                      and s.argval in code.co_freevars for s in steps])
        assert found.stores == (stores or not found.names.isdisjoint(observer._SETTERS)), code


def test_cells_of_outer_functions_are_changed_and_own_ones_are_not() -> None:
    def outer() -> types.FunctionType:
        count = 0

        def inner() -> None:
            nonlocal count
            count += 1

        return inner

    assert observer.analysed(outer().__code__).stores
    assert not observer.analysed(outer.__code__).stores
