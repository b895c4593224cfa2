"""What a public module says of a name that it does not have."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from flambeau.base.naming import public_name

__all__ = ["missing_attribute", "missing_module", "nearest"]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The public one of ``names`` that is spelled most like ``name``, if one is like it at all.

    >>> nearest("relux", ["relu", "rand", "_relu"])
    'relu'
    """
    import difflib  # At start-up it would cost a millisecond that only a mistake needs.

    public = {n.lower(): n for n in names if not n.startswith("_")}
    found = difflib.get_close_matches(name.lower(), public, n=1, cutoff=0.6)
    return public[found[0]] if found else None


def missing_attribute(module: str, name: str, names: Iterable[str]) -> AttributeError:
    """The error for ``module.name``, where ``names`` are those that the module has.

    A module's ``__getattr__`` raises it, so that ``hasattr`` answers False. The first line is
    PyTorch's; the rest says that flambeau lacks the name, and which one comes nearest.

    >>> print(missing_attribute("flambeau.nn", "Linaer", ["Linear", "Conv2d"]))
    module 'flambeau.nn' has no attribute 'Linaer'
    flambeau does not have it (yet). The nearest name that is there: flambeau.nn.Linear
    """
    # An import asks a package for a submodule before it imports it, and nobody reads the answer.
    if sys._getframe(2).f_code.co_name == "_handle_fromlist":
        return AttributeError(name)
    module = public_name(module)
    lines = [f"module '{module}' has no attribute '{name}'"]
    if not name.startswith("_"):
        lines.append(_advice(module, nearest(name, names)))
    # An obj of None keeps Python from adding a suggestion of its own to the last line.
    return AttributeError("\n".join(lines), name=name, obj=None)


def missing_module(name: str, names: Iterable[str]) -> ModuleNotFoundError:
    """The error for ``import name``, where ``names`` are the submodules of its parent.

    >>> print(missing_module("torch.optin", ["optim", "nn"]))
    No module named 'torch.optin'
    flambeau does not have it (yet). The nearest name that is there: torch.optim
    """
    parent, _, leaf = name.rpartition(".")
    text = f"No module named '{name}'\n{_advice(parent, nearest(leaf, names))}"
    return ModuleNotFoundError(text, name=name)


def _advice(module: str, found: str | None) -> str:
    text = "flambeau does not have it (yet)."
    return f"{text} The nearest name that is there: {module}.{found}" if found else text
