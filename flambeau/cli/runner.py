"""``flambeau run``: a program runs as ``python`` would run it, and its ``torch`` is flambeau."""

from __future__ import annotations

import io
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import BuiltinImporter, SourceFileLoader
from pkgutil import get_importer
from types import ModuleType, TracebackType
from typing import Any

import flambeau

__all__ = ["asks_for_help", "run"]

# What `python -m` itself calls; the public functions beside it differ in texts and in argv[0].
_run_module = runpy._run_module_as_main  # type: ignore[attr-defined]


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether these words after ``run`` name no program to run."""
    return not words or words[0] in ("-h", "--help") or words in (["-m"], ["-c"])


def run(words: Sequence[str]) -> int:
    """Run the program that ``words`` name, with the rest of them as its arguments.

    ``words`` are a script's path (or a folder's or zip file's with a ``__main__.py``), or ``-m``
    and a module, or ``-c`` and code, or ``-`` for standard input. ``sys.argv``, ``sys.path[0]``,
    ``__main__``, tracebacks and the exit status are those of ``python`` with the same words.
    """
    first, rest = words[0], list(words[1:])
    if first == "-m":
        _as_program(["-m", *rest[1:]], os.getcwd())
        _call(lambda: _run_module(rest[0]))
    elif first == "-c":
        main = _as_program(["-c", *rest[1:]], "")
        _call(lambda: _execute(rest[0], "<string>", main))
    elif first == "-":
        main = _as_program([first, *rest], "")
        _call(lambda: _execute(sys.stdin.read(), "<stdin>", main))
    elif get_importer(first) is not None:
        _as_program([first, *rest], os.path.abspath(first))
        _call(lambda: _run_module("__main__", alter_argv=False))
    else:
        return _run_script(first, rest)
    return 0


def _run_script(script: str, rest: list[str]) -> int:
    path = os.path.abspath(script)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        print(f"{sys.orig_argv[0]}: can't open file {path!r}: [Errno {error.errno}] "
              f"{error.strerror}", file=sys.stderr)
        return 2
    main = _as_program([script, *rest], os.path.dirname(os.path.realpath(path)))
    main.__file__ = path
    main.__cached__ = None  # type: ignore[attr-defined]
    main.__loader__ = SourceFileLoader("__main__", path)
    _call(lambda: _execute(source, path, main))
    return 0


def _as_program(arguments: list[str], folder: str) -> ModuleType:
    """A new ``__main__`` module, with ``sys.argv`` and ``sys.path`` as its program expects them."""
    main = ModuleType("__main__")
    main.__loader__ = BuiltinImporter
    main.__dict__.update(__builtins__=sys.modules["builtins"], __annotations__={})
    sys.modules["__main__"] = main
    sys.argv[:] = arguments
    if not sys.flags.safe_path:
        # Python has put a folder there: the working one, or the console command's.
        sys.path[0] = folder
    # Not before: multiprocessing, once imported, keeps the __main__ that it finds.
    flambeau.as_torch()
    return main


def _execute(source: str | bytes, name: str, main: ModuleType) -> None:
    exec(compile(source, name, "exec", dont_inherit=True), vars(main))


def _call(program: Callable[[], Any]) -> None:
    """Run ``program``; an exception that ends it is shown without the frames of this file."""
    try:
        program()
    except SystemExit:
        raise
    except BaseException as error:
        _hide_runner(error, _program_part(error.__traceback__))
        raise


def _program_part(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _hide_runner(error: BaseException, trace: TracebackType | None) -> None:
    """Have ``sys.excepthook``, whoever set it, get ``trace`` for ``error``.

    On its way out of the interpreter the exception gathers the runner's frames again, so they
    can be taken off only when the hook is called.
    """
    hook = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, full: TracebackType | None) -> Any:
        sys.excepthook = hook
        if value is error:
            full = trace
            value.__traceback__ = sys.last_traceback = trace
        return hook(kind, value, full)

    sys.excepthook = show
