"""``flambeau inspect FILE``: what is in a checkpoint, without loading it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pickle import UnpicklingError

from flambeau.serialization.inspect import inspect, lines_of

__all__ = ["main"]


def main(words: Sequence[str]) -> int:
    """List the tensors and values of each file named; 1 where one cannot be read."""
    parser = argparse.ArgumentParser(
        prog="flambeau inspect", description="Lists the tensors and values in checkpoints of "
        "PyTorch and safetensors files. Nothing in them is run, and no tensor is read.")
    parser.add_argument("files", nargs="+", metavar="FILE")
    status = 0
    for path in parser.parse_args(words).files:
        try:
            for line in lines_of(inspect(path), path):
                print(line)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = 1
    return status
