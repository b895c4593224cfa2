"""Files that are damaged, or made to do harm: a clear error, and nothing is run."""

from __future__ import annotations

import io
import os
import pickle
import random
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

import flambeau as torch
from flambeau.serialization.safe_unpickler import SafeUnpickler

REFUSED = (RuntimeError, EOFError, pickle.UnpicklingError)
Refused = pickle.UnpicklingError


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


def archive_of(pickled: bytes, storages: dict[str, bytes] | None = None) -> io.BytesIO:
    """A checkpoint with this pickle, whatever it is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    file.seek(0)
    return file


@pytest.mark.parametrize("function, args", [
    (os.system, ("touch {}",)), (eval, ("open('{}', 'w')",)), (exec, ("open('{}', 'w')",)),
    (subprocess.call, (["touch", "{}"],)), (getattr, (1, "real")), (open, ("{}", "w"))])
@pytest.mark.parametrize("protocol", [2, 4])
def test_calls_are_refused(function: Any, args: tuple, protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    args = tuple([a.format(trace) if isinstance(a, str) else a for a in args])
    with pytest.raises(Refused, match="Weights only load failed"):
        torch.load(archive_of(pickle.dumps({"a": Calls(function, *args)}, protocol)))
    assert not trace.exists()


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n" \
         b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ%b%b%b\x89ccollections\nOrderedDict\n)RtR."


def tensor_of(offset: bytes, size: bytes, stride: bytes) -> io.BytesIO:
    return archive_of(b"\x80\x02" + TENSOR % (offset, size, stride), {"0": bytes(16)})


def test_a_fair_tensor_is_read() -> None:
    assert torch.load(tensor_of(b"K\x01", b"K\x03\x85", b"K\x01\x85")).shape == (3,)


@pytest.mark.parametrize("offset, size, stride", [
    (b"K\x00", b"K\x05\x85", b"K\x01\x85"), (b"K\x02", b"K\x03\x85", b"K\x01\x85"),
    (b"K\x00", b"K\x04\x85", b"K\x02\x85"), (b"J\xff\xff\xff\xff", b"K\x01\x85", b"K\x01\x85"),
    (b"K\x00", b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
    (b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
    (b"K\x00", b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85", b"K\x00\x85"),
    (b"G" + bytes(8), b"K\x01\x85", b"K\x01\x85"), (b"K\x00", b"K\x01\x85", b")")])
def test_views_beyond_their_storage_are_refused(offset: bytes, size: bytes, stride: bytes) -> None:
    with pytest.raises(REFUSED):
        torch.load(tensor_of(offset, size, stride))


def test_storages_shorter_than_they_say_are_refused() -> None:
    file = archive_of(b"\x80\x02" + TENSOR % (b"K\x00", b"K\x04\x85", b"K\x01\x85"),
                      {"0": bytes(8)})
    with pytest.raises(RuntimeError, match="should hold 4 elements"):
        torch.load(file)


@pytest.mark.parametrize("attributes", [{"_a": 1}, {"_node": 1}, {"grad": 1}, {"backward": 1}])
def test_a_tensors_own_attributes_are_not_replaced(attributes: dict) -> None:
    state = pickle.dumps(attributes, 2)[2:-1]
    content = b"\x80\x02" + TENSOR % (b"K\x00", b"K\x04\x85", b"K\x01\x85")
    with pytest.raises(Refused):
        torch.load(archive_of(content[:-1] + state + b"b.", {"0": bytes(16)}))


def test_what_the_program_trusts_is_made() -> None:
    file = io.BytesIO()
    torch.save(torch.nn.ReLU(), file)
    file.seek(0)
    with pytest.raises(Refused, match="torch.nn.modules.activation.ReLU"):
        torch.load(file)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(file) == [
        "torch.nn.modules.activation.ReLU"]
    with torch.serialization.safe_globals([torch.nn.ReLU]):
        file.seek(0)
        assert isinstance(torch.load(file), torch.nn.ReLU)
    assert torch.serialization.get_safe_globals() == []


@pytest.mark.parametrize("content", [b"", b"hello, this is no checkpoint", b"PK\x03\x04",
                                     b"\x80\x02.", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_other_files(content: bytes) -> None:
    with pytest.raises(REFUSED):
        torch.load(io.BytesIO(content))


def saved() -> bytes:
    file = io.BytesIO()
    net = torch.nn.Linear(3, 2)
    torch.save({"net": net.state_dict(), "list": [torch.ones(5), 1, "a"]}, file)
    return file.getvalue()


def test_every_truncation_is_an_error() -> None:
    content = saved()
    for length in range(0, len(content), 37):
        with pytest.raises(REFUSED):
            torch.load(io.BytesIO(content[:length]))


def test_a_flipped_bit_in_a_tensor_is_noticed() -> None:
    content = bytearray(saved())
    at = content.find(torch.ones(5)._a.tobytes())
    content[at] ^= 1
    with pytest.raises(RuntimeError, match="damaged"):
        torch.load(io.BytesIO(bytes(content)))


def test_random_damage_gives_errors_of_the_known_kinds() -> None:
    content, rng = saved(), random.Random(0)
    pickled = zipfile.ZipFile(io.BytesIO(content)).read("archive/data.pkl")
    for _ in range(1500):
        whole, part = bytearray(content), bytearray(pickled)
        for _ in range(rng.choice([1, 2, 5])):
            whole[rng.randrange(len(whole))] = rng.randrange(256)
            part[rng.randrange(len(part))] = rng.randrange(256)
        for read in (lambda w=whole: torch.load(io.BytesIO(bytes(w))),
                     lambda p=part: SafeUnpickler(bytes(p), lambda _: None, {}).load()):
            try:
                read()
            except REFUSED:
                pass


def test_nesting_without_end() -> None:
    with pytest.raises(REFUSED):
        torch.load(archive_of(b"\x80\x02" + b"]" * 5), weights_only=True)
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    assert isinstance(torch.load(archive_of(deep)), list)
