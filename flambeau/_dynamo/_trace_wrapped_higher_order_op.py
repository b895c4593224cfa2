"""Indexing by batched scalars inside ``vmap``, under the name that libraries import."""

from __future__ import annotations

from types import TracebackType

__all__ = ["TransformGetItemToIndex"]


class TransformGetItemToIndex:
    """A block in which ``x[i, j]`` takes batched 0-dim tensors. Here that holds outside it too.

    >>> import flambeau as torch
    >>> from flambeau._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
    >>> x = torch.tensor([3, 4, 5])
    >>> with TransformGetItemToIndex():
    ...     torch.vmap(lambda i: x[i])(torch.tensor([2, 0]))
    tensor([5, 3])
    """

    def __enter__(self) -> TransformGetItemToIndex:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        return None
