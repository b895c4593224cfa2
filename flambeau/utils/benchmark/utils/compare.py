"""Tables of measurements: a row per statement, a column per description."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import numpy as np

from flambeau.utils.benchmark.utils.common import (
    Measurement,
    ordered_unique,
    select_unit,
    trim_sigfig,
    unit_to_english,
)

__all__ = ["Colorize", "Compare"]

BOLD, BEST, GOOD = "\033[1m", "\033[92m", "\033[34m"
BAD, VERY_BAD, END = "\033[2m\033[91m", "\033[31m", "\033[0m"
# Differences below this, in seconds, are none.
SAME = 100e-9
WARNING_WIDTH = 7

Group = Sequence[Sequence[Measurement | None]]


class Colorize(enum.Enum):
    """What a time is compared with for its color."""

    NONE = "none"
    COLUMNWISE = "columnwise"
    ROWWISE = "rowwise"


class _Column:
    """The numbers of a column: all with as many decimals."""

    def __init__(self, cells: Sequence[Measurement | None], scale: float, trim: bool,
                 warn: bool) -> None:
        found = [m for m in cells if m is not None]
        digits = [int(np.ceil(np.log10(np.float32(m.median / scale)))) for m in found]
        self.decimals = 1
        if trim:
            self.decimals = min([max(m.significant_figures - d, 0)
                                 for m, d in zip(found, digits)])
        self.width = max(digits) + self.decimals + (1 if self.decimals else 0)
        self.scale = scale
        self.trim = trim
        self.warn = warn and any(m.has_warnings for m in found)

    def text(self, m: Measurement | None) -> str:
        if m is None:
            return " " * len(self._cell(1.0, ""))
        value = m.median / self.scale
        if self.trim:
            value = trim_sigfig(value, m.significant_figures)
        spread = f" (! {m.iqr / m.median * 100:.0f}%)" if self.warn and m.has_warnings else ""
        return self._cell(value, spread)

    def _cell(self, value: float, spread: str) -> str:
        number = f"{value:>{self.width}.{self.decimals}f}"
        return number + f"{spread:>{WARNING_WIDTH}}" if self.warn else number


class _Table:
    """The measurements of one label."""

    def __init__(self, results: list[Measurement], colors: Colorize, trim: bool,
                 warn: bool) -> None:
        self.results = results
        self.colors = colors
        self.warn = warn
        self.unit, scale = select_unit(min(m.median for m in results))
        self.rows = ordered_unique([self._row_of(m) for m in results])
        # Rows of one number of threads and environment keep their order.
        self.rows.sort(key=lambda key: key[:2])
        self.columns = ordered_unique([m.description for m in results])
        by_place = {(self._row_of(m), m.description): m for m in results}
        self.cells = [[by_place.get((row, column)) for column in self.columns]
                      for row in self.rows]
        self.styles = [_Column(column, scale, trim, warn) for column in zip(*self.cells)]

    @staticmethod
    def _row_of(m: Measurement) -> tuple[int, str, str]:
        return m.num_threads, m.env or "Unspecified env", m.as_row_name

    def _names(self) -> list[str]:
        environments = {env for _, env, _ in self.rows}
        width = max([len(env) for env in environments]) if len(environments) > 1 else 0
        names, before = [], None
        for threads, env, name in self.rows:
            shown = len(environments) > 1 and (threads, env) != before
            names.append("  " + (f"({env})" if shown else "").ljust(width + 4) + name)
            before = threads, env
        return names

    def render(self) -> str:
        texts = [["", *[column or "" for column in self.columns]]]
        for name, row in zip(self._names(), self.cells):
            texts.append([name, *[style.text(m) for style, m in zip(self.styles, row)]])
        widths = [max(len(text) for text in column) for column in zip(*texts)]
        lines = ["  |  ".join([text.center(w) for text, w in zip(texts[0], widths)])]
        whole = len(lines[0])
        threads = None
        for at, (key, text) in enumerate(zip(self.rows, texts[1:])):
            if key[0] != threads:
                threads = key[0]
                lines.append(f"{threads} threads: ".ljust(whole, "-"))
            lines.append("  |  ".join(self._colored(at, text, widths)))
        title = f" {self.results[0].label or ''} ".center(whole - 2, "-")
        said = ""
        if self.warn and any(m.has_warnings for m in self.results):
            said = "(! XX%) Measurement has high variance, where XX is the IQR / median * 100.\n"
        body = "\n".join(lines)
        return (f"[{title}]\n{body}\n\nTimes are in {unit_to_english(self.unit)}s ({self.unit}).\n"
                f"{said}")

    def _colored(self, at: int, texts: list[str], widths: list[int]) -> list[str]:
        found = [texts[0].ljust(widths[0])]
        for column, (text, width) in enumerate(zip(texts[1:], widths[1:])):
            m, segment = self.cells[at][column], text.center(width)
            if m is not None and self.colors is not Colorize.NONE:
                segment = _colored(segment, m.median, self._best(at, column))
            found.append(segment)
        return found

    def _best(self, at: int, column: int) -> float:
        """The least time of the row, or of the column's rows with as many threads."""
        if self.colors is Colorize.ROWWISE:
            rivals = self.cells[at]
        else:
            rivals = [row[column] for key, row in zip(self.rows, self.cells)
                      if key[0] == self.rows[at][0]]
        return min(m.median for m in rivals if m is not None)


def _colored(segment: str, value: float, best: float) -> str:
    if value <= best * 1.01 or value <= best + SAME:
        return BEST + BOLD + segment + END * 2
    if value <= best * 1.1:
        return GOOD + BOLD + segment + END * 2
    if value >= best * 5:
        return VERY_BAD + BOLD + segment + END * 2
    return BAD + segment + END * 2 if value >= best * 2 else segment


class Compare:
    """Measurements as tables: ``print(Compare(measurements))``.

    Replicates are merged; there is a table per label. ValueError for what is no Measurement.

    >>> from flambeau.utils.benchmark import Compare, Measurement, TaskSpec
    >>> task = TaskSpec("x + 1", "pass", label="add", description="n=3")
    >>> print(Compare([Measurement(1, [2e-6] * 4, task)]))
    [------ add ------]
                 |  n=3
    1 threads: --------
          x + 1  |  2.0
    <BLANKLINE>
    Times are in microseconds (us).
    <BLANKLINE>
    """

    def __init__(self, results: Iterable[Measurement]) -> None:
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trim_significant_figures = False
        self._colorize = Colorize.NONE
        self._highlight_warnings = False

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements."""
        results = list(results)
        for m in results:
            if not isinstance(m, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(m)} instead.")
        self._results.extend(results)

    def trim_significant_figures(self) -> None:
        """Show only the figures that mean something."""
        self._trim_significant_figures = True

    def colorize(self, rowwise: bool = False) -> None:
        """Color times by how they compare with the best of their column, or of their row."""
        self._colorize = Colorize.ROWWISE if rowwise else Colorize.COLUMNWISE

    def highlight_warnings(self) -> None:
        """Mark times that vary suspiciously."""
        self._highlight_warnings = True

    def print(self) -> None:
        """Print the tables."""
        print(str(self))

    def __str__(self) -> str:
        groups: dict[str | None, list[Measurement]] = {}
        for m in Measurement.merge(self._results):
            groups.setdefault(m.label, []).append(m)
        return "\n".join([
            _Table(group, self._colorize, self._trim_significant_figures,
                   self._highlight_warnings).render() for group in groups.values()])
