"""Which command is meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import flambeau
from flambeau.cli import runner

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the value is the process's exit status.

    ``arguments`` is ``sys.argv[1:]`` unless given. ``run`` ends with the program's own status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # argparse must not see these: all that follows the script belongs to the script.
    if words[:1] == ["run"] and not runner.asks_for_help(words[1:]):
        return runner.run(words[1:])
    if words[:1] == ["lesson"]:
        # Start-up: programs that are run do not need its texts.
        from flambeau.cli.lesson import show
        return show.main(words[1:])
    if words[:1] == ["inspect"]:
        # Start-up, too.
        from flambeau.cli import inspect
        return inspect.main(words[1:])
    _parser().parse_args(words)
    _parser().print_help()
    return 2 if not words else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flambeau", description="PyTorch's interface and PyTorch's numbers, in Python.")
    parser.add_argument("--version", action="version", version=f"flambeau {flambeau.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser(
        "run",
        usage="flambeau run (SCRIPT | -m MODULE | -c CODE | -) [ARGUMENTS ...]",
        help="run a PyTorch program with flambeau in the place of torch",
        description="Runs the program as `python` would; in it, `import torch` gives flambeau.",
    )
    commands.add_parser("inspect", help="list what is in a checkpoint, without loading it")
    commands.add_parser(
        "lesson", help="learn tensors, gradients and a first regression, step by step")
    return parser
