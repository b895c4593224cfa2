"""The lesson on a terminal: each step's code, what it prints, and why."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau.base.messages import language
from flambeau.cli.lesson import text_plot
from flambeau.cli.lesson.chinese import CHINESE
from flambeau.cli.lesson.english import ENGLISH
from flambeau.cli.lesson.steps import PICTURE, STEPS, Step
from flambeau.cli.lesson.texts import Catalogue, columns, wrap

__all__ = ["CATALOGUES", "Lesson", "main", "run_piece"]

CATALOGUES = {"en": ENGLISH, "zh": CHINESE}


def main(arguments: Sequence[str]) -> int:
    """Show the lesson as the words after ``flambeau lesson`` say; the value is the exit status."""
    options = _parser().parse_args(arguments)
    flambeau.as_torch()
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that has no Chinese shows question marks rather than ending the lesson.
        sys.stdout.reconfigure(errors="replace")
    chosen = STEPS if options.step is None else STEPS[options.step - 1:options.step]
    pausing = sys.stdin.isatty() and not options.no_pause
    lesson = Lesson(CATALOGUES[options.lang or language()], options.png)
    with contextlib.suppress(_Stop):
        lesson.show(chosen, pausing)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flambeau lesson",
        description="Tensors, gradients and a first regression, step by step.")
    parser.add_argument("--lang", choices=list(CATALOGUES), help="the language (the locale's)")
    parser.add_argument("--step", type=int, choices=range(1, len(STEPS) + 1), metavar="N",
                        help=f"only this step, 1 to {len(STEPS)}")
    parser.add_argument("--no-pause", action="store_true", help="do not wait between the steps")
    parser.add_argument("--png", metavar="FILE", default="lesson.png",
                        help="where the last step draws its picture (lesson.png)")
    return parser


def run_piece(code: str, variables: dict[str, Any]) -> str:
    """Run ``code`` with ``variables``, which it may change; what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<lesson>", "exec"), variables)
    return printed.getvalue()


class Lesson:
    """The lesson in one language, printed to standard output; ``png`` is the picture's file."""

    def __init__(self, catalogue: Catalogue, png: str) -> None:
        self.catalogue = catalogue
        self.words = catalogue.words
        self.png = png

    def show(self, steps: Sequence[Step], pausing: bool) -> None:
        """Show and run ``steps``; with ``pausing``, wait for Enter between them."""
        whole = len(steps) == len(STEPS)
        if whole:
            print(wrap(self.catalogue.welcome))
        for step in steps:
            if pausing and (whole or step is not steps[0]):
                self._pause()
            self._step(step)
        if whole:
            print("\n" + wrap(self.catalogue.goodbye))

    def _pause(self) -> None:
        try:
            answer = input("\n" + self.words["pause"])
        except (EOFError, KeyboardInterrupt):
            print()
            raise _Stop from None
        if answer.strip().lower() == "q":
            raise _Stop

    def _step(self, step: Step) -> None:
        texts = self.catalogue.steps[step.name]
        title = self.words["step"].format(number=STEPS.index(step) + 1, count=len(STEPS),
                                          title=texts.title)
        print(f"\n{title}\n{'=' * columns(title)}")
        variables: dict[str, Any] = {"__name__": "__main__", "png": self.png}
        for code, text in zip(step.pieces, texts.pieces):
            print("\n" + wrap(text.before))
            self._part("code", code, "    ")
            self._run(code, variables)
            print(f"\n{self.words['why']}\n" + wrap(text.why, "  "))
            for name, note in text.notes.items():
                print("\n".join("    " + line for line in name.splitlines()))
                print(wrap(note, "        "))
        if step.name == "regression":
            self._plot(variables)

    def _part(self, word: str, text: str, indent: str) -> None:
        print(f"\n{self.words[word]}")
        print("\n".join((indent + line).rstrip() for line in text.splitlines()))

    def _run(self, code: str, variables: dict[str, Any]) -> None:
        """Run a piece and show what it printed; a piece that draws says where, or why not."""
        draws = code is PICTURE
        try:
            printed = run_piece(code, variables)
        except ModuleNotFoundError as error:
            if not draws or error.name is None or error.name.split(".")[0] != "matplotlib":
                raise
            printed = self.words["no_plot"]
        except OSError as error:
            if not draws:
                raise
            printed = self.words["no_file"].format(path=self.png, reason=error.strerror)
        else:
            if draws:
                printed = self.words["picture"].format(path=self.png)
        if draws:
            print("\n" + wrap(printed, "  "))
        else:
            self._part("prints", printed or self.words["silent"], "  | ")

    def _plot(self, variables: dict[str, Any]) -> None:
        """The regression's picture in characters: the points and the line, then the loss."""
        hours, height = variables["hours"].tolist(), variables["height"].tolist()
        slope, start = variables["slope"].item(), variables["start"].item()
        losses = variables["losses"]
        across = [min(hours) + (max(hours) - min(hours)) * i / 100 for i in range(101)]
        line = (across, [slope * x + start for x in across], "-")
        print(f"\n  {self.words['points']}")
        print(text_plot.plot([line, (hours, height, "o")], self.words["hours"]))
        print(f"\n  {self.words['loss']}")
        steps = list(range(1, len(losses) + 1))
        print(text_plot.plot([(steps, losses, "*")], self.words["steps"], height=12, log=True))


class _Stop(Exception):
    """The reader has had enough."""
