"""Reordering, joining and splitting dimensions by a pattern of their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

from flambeau.core.tensor import Tensor
from flambeau.ops.join import stack
from flambeau.ops.shape import permute, reshape

__all__ = ["rearrange"]

# A pattern's side: per dimension the names it is made of; () is a dimension of size 1.
Side = list[tuple[str, ...]]
_REST = "..."


def _words(text: str) -> list[str]:
    odd = re.search(r"[^\w\s().]", text)
    if odd:
        raise ValueError(f"Unknown character '{odd[0]}'")
    return re.findall(r"\.\.\.|[()]|\w+|\.", text)


def _side(text: str) -> Side:
    """The dimensions that one side of a pattern names."""
    found: Side = []
    group: list[str] | None = None
    seen: set[str] = set()
    for word in _words(text):
        if word == "(" and group is None:
            group = []
        elif word == ")" and group is not None:
            found.append(tuple(group))
            group = None
        elif word in "()":
            raise ValueError(f"Imbalanced parentheses in expression: '{text}'")
        elif word == "1":
            if group is None:
                found.append(())
        else:
            _check_name(word, seen)
            if group is None:
                found.append((word,))
            else:
                group.append(word)
    if group is not None:
        raise ValueError(f"Imbalanced parentheses in expression: '{text}'")
    return found


def _check_name(word: str, seen: set[str]) -> None:
    if word.isdigit():
        raise ValueError("rearrange only supports unnamed axes of size 1")
    if word in seen:
        kind = "contains duplicate dimension" if word != _REST else "contains duplicate ellipsis"
        raise ValueError(f"Indexing expression {kind} '{word}'")
    if word != _REST and not word.isidentifier():
        raise ValueError(f"'{word}' is not a name of a dimension")
    seen.add(word)


def _parse(pattern: str, lengths: dict[str, int], rank: int) -> tuple[Side, Side]:
    parts = pattern.split("->")
    if len(parts) != 2:
        raise ValueError("Pattern must contain a single '->' separator")
    left, right = (_side(text) for text in parts)
    names = [{n for group in side for n in group} for side in (left, right)]
    apart = names[0] ^ names[1]
    if apart:
        raise ValueError("Identifiers only on one side of rearrange expression (should be on "
                         f"both): {apart}")
    unknown = lengths.keys() - names[0]
    if unknown:
        raise ValueError(f"Identifiers not found in rearrange expression: {set(unknown)}")
    free = rank - sum(group != (_REST,) for group in left)
    if free < 0 or free and (_REST,) not in left:
        raise ValueError(f"Number of dimensions in pattern ({len(left)}) must be equal to the "
                         f"number of dimensions in the tensor ({rank})")
    rest = [f"{_REST}{k}" for k in range(free)]
    expanded = [_with_rest(side, rest, at == 0) for at, side in enumerate((left, right))]
    return expanded[0], expanded[1]


def _with_rest(side: Side, rest: Sequence[str], alone: bool) -> Side:
    """The side with one name for each dimension that the ellipsis stands for."""
    found: Side = []
    for group in side:
        if group == (_REST,):
            found += [(name,) for name in rest]
        elif alone and _REST in group:
            raise ValueError("Ellipsis is parenthesized in the left side of the pattern")
        else:
            found.append(tuple([n for word in group
                                for n in (rest if word == _REST else (word,))]))
    return found


def _sizes(left: Side, shape: Sequence[int], lengths: dict[str, int]) -> dict[str, int]:
    """The size of every name, the missing one of a group inferred."""
    sizes = dict(lengths)
    for group, whole in zip(left, shape):
        unknown = [n for n in group if n not in sizes]
        known = prod([sizes[n] for n in group if n in sizes])
        if len(unknown) > 1:
            raise ValueError(f"cannot infer the sizes of {len(unknown)} dimensions at once "
                             f"{' and '.join(unknown)}")
        if unknown:
            if not known or whole % known:
                raise ValueError(f"the size of '{unknown[0]}' cannot be inferred: {whole} is not a "
                                 f"multiple of {known}")
            sizes[unknown[0]] = whole // known
        elif known != whole:
            raise ValueError(f"dimension sizes do not match ({whole} != {known}) for "
                             f"'{' '.join(group) or 1}'")
    return sizes


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """Reorder, join and split dimensions as ``pattern`` says, as einops does.

    Each side of ``->`` names the dimensions; names in parentheses make one dimension together,
    ``1`` is one of size 1 and ``...`` stands for all others. Of the names in parentheses on the
    left all but one need a size, given by keyword. A sequence of tensors is stacked first.

    >>> import flambeau as torch
    >>> x = torch.arange(6).reshape(2, 3)
    >>> torch.func.rearrange(x, "h w -> w h").shape
    torch.Size([3, 2])
    >>> torch.func.rearrange(x, "h (w k) -> (h w) k", k=3).shape
    torch.Size([2, 3])
    """
    t = tensor if isinstance(tensor, Tensor) else stack(list(tensor))
    left, right = _parse(pattern, axes_lengths, t.ndim)
    sizes = _sizes(left, t.shape, axes_lengths)
    order = [n for group in left for n in group]
    wanted = [n for group in right for n in group]
    t = reshape(t, tuple([sizes[n] for n in order]))
    t = permute(t, tuple([order.index(n) for n in wanted]))
    return reshape(t, tuple([prod([sizes[n] for n in group]) for group in right]))
