"""Sequences of different lengths for recurrent modules: padded, packed, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module_target import parse_to
from flambeau.ops import sequences as ops

__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pad_packed_sequence",
           "pad_sequence", "unpad_sequence", "pack_sequence", "unpack_sequence"]

torch = FACES["torch"]


class PackedSequence_(NamedTuple):
    """The fields of a PackedSequence."""

    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


class PackedSequence(PackedSequence_):
    """Sequences of different lengths as one tensor, step by step.

    ``data`` (sum of lengths, ...) holds the first elements of all sequences, then the second ones
    and so on; ``batch_sizes`` how many sequences go on at each step. ``sorted_indices`` says how
    the sequences were put in order of falling length, ``unsorted_indices`` how to go back.
    """

    def __new__(cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None,
                unsorted_indices: Any = None) -> Self:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The same sequence with ``data.to(...)``; itself where nothing changes."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        return type(self)(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def cuda(self, *args: Any, **kwargs: Any) -> Self:
        """The sequence on a GPU; raises where there is none."""
        place = parse_to(*args, **kwargs)[0]
        return self.to(*args, **kwargs) if place is not None else self.to("cuda", *args, **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> Self:
        """The sequence on the CPU: itself."""
        return self.to(*args, **kwargs) if args or kwargs else self

    def pin_memory(self) -> Self:
        """The sequence in memory that a GPU can read."""
        return type(self)(*[None if t is None else t.pin_memory() for t in self])

    def is_pinned(self) -> bool:
        """Whether the memory is one that a GPU can read."""
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a GPU."""
        return self.data.is_cuda


def _conversion(name: str, to: str) -> Any:
    def convert(self: PackedSequence) -> PackedSequence:
        return self.to(dtype=getattr(self.data, name)().dtype)

    convert.__name__ = name
    convert.__doc__ = f"The same sequence as {to}."
    return convert


for _name, _to in {"double": "float64", "float": "float32", "half": "float16", "long": "int64",
                   "int": "int32", "short": "int16", "char": "int8", "byte": "uint8"}.items():
    setattr(PackedSequence, _name, _conversion(_name, _to))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another; None for None.

    >>> import flambeau as torch
    >>> invert_permutation(torch.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    order = torch["arange"](0, permutation.numel())
    return torch["empty_like"](permutation).scatter_(0, permutation, order)


def pack_padded_sequence(input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False,
                         enforce_sorted: bool = True) -> PackedSequence:
    """Pack padded sequences, (T, B, ...) or with ``batch_first`` (B, T, ...), of ``lengths``.

    With ``enforce_sorted`` the lengths must fall; without, the sequences are sorted.

    >>> import flambeau as torch
    >>> packed = pack_padded_sequence(torch.tensor([[1, 2], [3, 0]]), [2, 1])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 2, 3]), tensor([2, 1]))
    """
    given = lengths if isinstance(lengths, Tensor) else torch["as_tensor"](lengths)
    sizes = given.long()
    order = None
    if not enforce_sorted:
        sizes, order = sizes.sort(descending=True)
        input = input.index_select(0 if batch_first else 1, order)
    found = tuple(_check_lengths(input, sizes, batch_first))
    running = [sum(n > step for n in found) for step in range(found[0])]
    return PackedSequence(ops.pack(input, found, batch_first), torch["tensor"](running), order)


def _check_lengths(input: Tensor, lengths: Any, batch_first: bool) -> list[int]:
    batch, steps = input.size(0 if batch_first else 1), input.size(1 if batch_first else 0)
    if lengths.dim() != 1:
        raise RuntimeError("'lengths' argument should be a 1D CPU int64 tensor, but got "
                           f"{lengths.dim()}D cpu Long tensor")
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    found = lengths.tolist()
    if len(found) != batch:
        raise RuntimeError("Expected `len(lengths)` to be equal to batch_size, but got "
                           f"{len(found)} (batch_size={batch})")
    if found[-1] <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element "
                           "in 'lengths' that is <= 0")
    if any(n < m for n, m in zip(found, found[1:])):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability.")
    if found[0] > steps:
        raise RuntimeError(f"Expected lengths of at most {steps}, the size of the input along "
                           f"time, but got {found[0]}")
    return found


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False,
                        padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Tensor, Tensor]:
    """The padded sequences, (T, B, ...) or with ``batch_first`` (B, T, ...), and their lengths.

    T is the greatest length, or ``total_length``.
    """
    sizes = sequence.batch_sizes.tolist()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError("Expected total_length to be at least the length of the longest "
                             f"sequence in input, but got total_length={total_length} and max "
                             f"sequence length being {steps}")
        steps = total_length
    lengths = tuple(sum(size > i for size in sizes) for i in range(sizes[0]))
    padded = ops.unpack(sequence.data, lengths, steps, padding_value, batch_first)
    found = torch["tensor"](lengths)
    back = sequence.unsorted_indices
    if back is None:
        return padded, found
    return padded.index_select(0 if batch_first else 1, back), found[back]


def pad_sequence(sequences: Any, batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Tensor:
    """Tensors (L, ...) of different L side by side: (T, B, ...), or (B, T, ...).

    >>> import flambeau as torch
    >>> pad_sequence([torch.tensor([1, 2]), torch.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError("pad_sequence: Expected iterable for input sequences, but got arg of "
                           f"type: {type(sequences)}")
    return ops.pad_sequence(tuple(sequences), batch_first, padding_value, padding_side)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor,
                   batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, without the padding."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    places = torch["arange"](rows.shape[1])
    return [row[places < length] for row, length in zip(rows, lengths, strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack tensors (L, ...) of different L."""
    lengths = torch["as_tensor"]([t.size(0) for t in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed one."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
