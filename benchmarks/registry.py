"""Tables of cases by name, which a decorator fills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Make = TypeVar("Make", bound=Callable[..., Any])


def registrar(cases: dict[str, Any]) -> Callable[[str], Callable[[Make], Make]]:
    """``case(name)``: a decorator that puts what makes a case's call into ``cases``."""

    def case(name: str) -> Callable[[Make], Make]:
        def register(make: Make) -> Make:
            cases[name] = make
            return make

        return register

    return case
