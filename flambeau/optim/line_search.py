"""Line search to the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Point", "strong_wolfe"]

# how far the loss must fall, and the slope flatten, in parts of the first slope
DECREASE = 1e-4
CURVATURE = 0.9
# the part of a bracket next to its ends where a trial makes no progress
MARGIN = 0.1


class Point(NamedTuple):
    """A step along the line, with the loss, the gradient and the slope there."""

    step: Any
    loss: float
    grad: Any
    slope: Any


def strong_wolfe(evaluate: Callable[[Any], Point], start: Point, step: Any, length: Any,
                 tolerance: float = 1e-9, limit: int = 25) -> tuple[Point, int]:
    """The best point found along a line, and how often it was evaluated.

    ``evaluate(step)`` gives the point of a step, ``start`` is that of step 0, ``step`` the first
    to try. ``length`` is the largest element of the direction: brackets smaller than ``tolerance``
    are not refined. At most ``limit`` points are tried after the first.
    """
    bracket, tried = _bracket(evaluate, start, step, limit)
    if len(bracket) == 1:
        return bracket[0], tried + 1
    return _zoom(evaluate, start, bracket, length, tolerance, limit, tried)


def _falls_short(start: Point, point: Point) -> bool:
    return point.loss > start.loss + DECREASE * point.step * start.slope


def _is_flat(start: Point, point: Point) -> bool:
    return abs(point.slope) <= -CURVATURE * start.slope


def _bracket(evaluate: Callable[[Any], Point], start: Point, step: Any, limit: int
             ) -> tuple[list[Point], int]:
    """Two points around a minimum, or one that is good enough already."""
    before, point, tried = start, evaluate(step), 0
    while tried < limit:
        if _falls_short(start, point) or (tried > 1 and point.loss >= before.loss):
            return [before, point], tried
        if _is_flat(start, point):
            return [point], tried
        if point.slope >= 0:
            return [before, point], tried
        least = point.step + 0.01 * (point.step - before.step)
        step = _cubic_minimum(before, point, (least, point.step * 10))
        before, point, tried = point, evaluate(step), tried + 1
    return [start, point], tried


def _zoom(evaluate: Callable[[Any], Point], start: Point, bracket: list[Point], length: Any,
          tolerance: float, limit: int, tried: int) -> tuple[Point, int]:
    """Refine a bracket until a point in it is good enough."""
    low, high = _order(bracket)
    stuck = done = False
    while not done and tried < limit:
        if abs(bracket[1].step - bracket[0].step) * length < tolerance:
            break
        step, stuck = _trial(bracket, stuck)
        point, tried = evaluate(step), tried + 1
        if _falls_short(start, point) or point.loss >= bracket[low].loss:
            bracket[high] = point
            low, high = _order(bracket)
            continue
        if _is_flat(start, point):
            done = True
        elif point.slope * (bracket[high].step - bracket[low].step) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = point
    return bracket[low], tried + 1


def _order(bracket: list[Point]) -> tuple[int, int]:
    return (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)


def _trial(bracket: list[Point], stuck: bool) -> tuple[Any, bool]:
    """The next step to try, kept off the bracket's ends where that made no progress before."""
    step = _cubic_minimum(bracket[0], bracket[1])
    ends = [p.step for p in bracket]
    least, most = min(ends), max(ends)
    margin = MARGIN * (most - least)
    if min(most - step, step - least) >= margin:
        return step, False
    if not (stuck or step >= most or step <= least):
        return step, True
    return (most - margin if abs(step - most) < abs(step - least) else least + margin), False


def _cubic_minimum(a: Point, b: Point, bounds: tuple[Any, Any] | None = None) -> Any:
    """The minimum within bounds of the cubic with these losses and slopes; else their middle."""
    if bounds is None:
        bounds = (a.step, b.step) if a.step <= b.step else (b.step, a.step)
    least, most = bounds
    shift = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    inside = shift**2 - a.slope * b.slope
    if not inside >= 0:
        return (least + most) / 2.0
    root = inside.sqrt()
    first, last = (a, b) if a.step <= b.step else (b, a)
    part = (last.slope + root - shift) / (last.slope - first.slope + 2 * root)
    return min(max(last.step - (last.step - first.step) * part, least), most)
