"""Tensors over the memory of files."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flambeau


def test_shared_memory_is_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    x = flambeau.from_file(str(path), shared=True, size=3, dtype=flambeau.uint8)
    x[1] = 65
    del x
    assert path.read_bytes() == b"\0A\0"


def test_a_private_tensor_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"\0\0\x80\x3f" * 2)
    x = flambeau.from_file(str(path), size=2)
    assert x.fill_(7).tolist() == [7.0, 7.0]
    assert path.read_bytes() == b"\0\0\x80\x3f" * 2


@pytest.mark.parametrize("shared, size", [(False, 5), (None, 2), (True, 4), (False, 0)])
def test_as_pytorch(shared: bool | None, size: int, tmp_path: Path,
                    torch_oracle: ModuleType) -> None:
    def result(t: Any, name: str) -> Any:
        path = tmp_path / name
        path.write_bytes(bytes(range(12)))
        try:
            return t.from_file(str(path), shared, size).tolist(), path.read_bytes()
        except RuntimeError as error:
            return str(error).replace(name, "")

    assert result(flambeau, "ours") == result(torch_oracle, "theirs")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unable to open file <.*No such file"):
        flambeau.from_file(str(tmp_path / "none"), size=1)
