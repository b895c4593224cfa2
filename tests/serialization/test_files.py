"""Checkpoints: what is saved is loaded, in the layouts that the format promises."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.base.dtypes import ALL


def again(thing: Any, **options: Any) -> Any:
    """``thing`` saved and loaded."""
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, **options)


def test_containers_and_plain_values() -> None:
    thing = {"a": [1, 2.5, None, True, "é", b"x", 1 << 70], "b": (1, (2,)), "c": {1, 2},
             "d": OrderedDict(x=1), "e": 1 + 2j, "f": torch.float16, "g": torch.Size([1, 2]),
             "h": torch.device("cpu"), "i": bytearray(b"yz"), 3: {}}
    found = again(thing)
    assert found == thing
    assert type(found["d"]) is OrderedDict and type(found["g"]) is torch.Size


@pytest.mark.parametrize("held", ALL, ids=lambda d: d.name)
def test_every_dtype(held: Any) -> None:
    t = torch.tensor([1, 2, 1, 4]).to(held)
    found = again(t)
    assert found.dtype is held and found.tolist() == t.tolist()


def test_views_share_memory_still() -> None:
    base = torch.arange(12.0)
    found = again({"base": base, "row": base.view(3, 4)[1], "turned": base.view(3, 4).t()})
    found["base"][5] = 100
    assert found["row"].tolist() == [4, 100, 6, 7]
    assert found["turned"].stride() == (1, 4) and found["turned"][1, 1] == 100
    assert found["row"].storage_offset() == 4


def test_one_storage_is_written_once() -> None:
    big = torch.zeros(10_000)
    file = io.BytesIO()
    torch.save([big, big[:5], big.view(100, 100)], file)
    assert len(file.getvalue()) < 45_000


def test_leaves_parameters_and_attributes() -> None:
    p = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    leaf = torch.ones(2, requires_grad=True)
    named = torch.ones(1)
    named.note = "kept"
    p2, leaf2, named2 = again([p, leaf, named])
    assert isinstance(p2, torch.nn.Parameter) and not p2.requires_grad
    assert leaf2.requires_grad and leaf2.is_leaf
    assert named2.note == "kept"


def test_modules_and_optimizers() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    state = again({"net": net.state_dict(), "optimizer": optimizer.state_dict()})
    assert state["net"]._metadata == net.state_dict()._metadata
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    other.load_state_dict(state["net"])
    torch.optim.Adam(other.parameters()).load_state_dict(state["optimizer"])
    whole = again(net, weights_only=False)
    x = torch.randn(2, 3)
    assert torch.equal(whole.eval()(x), net.eval()(x))


def test_layout_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(100), "v": torch.ones(3, dtype=torch.int8)}, path)
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "model/data.pkl" and "model/byteorder" in names
        assert archive.read("model/version") == b"3\n"
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            head = raw[info.header_offset:info.header_offset + 30]
            start = info.header_offset + 30 + sum(np.frombuffer(head[26:30], "<u2").tolist())
            assert start % 64 == 0, info.filename


def test_the_same_object_makes_the_same_file() -> None:
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        torch.save({"w": torch.arange(5)}, file)
    assert files[0].getvalue() == files[1].getvalue()


def test_map_location() -> None:
    t = torch.ones(2)
    assert again(t, map_location="cpu").device.type == "cpu"
    assert again(t, map_location=lambda storage, where: storage).tolist() == [1, 1]
    assert again(t, map_location={"cpu": "cpu"}).tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="CUDA device"):
        again(t, map_location="cuda:0")
    with pytest.raises(RuntimeError, match="don't know how to restore"):
        again(t, map_location="moon")


def test_mapped_files_change_in_memory_only(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.arange(1000)}, path)
    found = torch.load(path, mmap=True)["w"]
    assert found[999] == 999
    found[0] = 7
    assert torch.load(path)["w"][0] == 0
    with pytest.raises(ValueError, match="file path"):
        torch.load(io.BytesIO(path.read_bytes()), mmap=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_mapped_files_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "big.pt"
    torch.save({"w": torch.zeros(64 << 20, dtype=torch.uint8)}, path)
    program = ("import flambeau as torch, sys\n"
               "def peak(): return int(next(l for l in open('/proc/self/status') "
               "if l.startswith('VmHWM')).split()[1])\n"
               "torch.save({}, '/dev/null'); before = peak()\n"
               "t = torch.load(sys.argv[1], mmap=True)['w']\n"
               "print((peak() - before) // 1024, t[-1].item())")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True,
                          text=True, check=True)
    assert int(done.stdout.split()[0]) < 20


def test_tensors_that_disagree_about_a_memory_are_refused() -> None:
    x = torch.ones(2)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        torch.save([x, x.view(torch.int32)], io.BytesIO())


def test_what_cannot_be_pickled_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(1, path)
    with pytest.raises(Exception, match="[Cc]an't|cannot"):
        torch.save(lambda: None, path)
    assert torch.load(path) == 1
    assert os.listdir(tmp_path) == ["a.pt"]
    with pytest.raises(RuntimeError, match="Parent directory"):
        torch.save(1, tmp_path / "none" / "a.pt")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_kill_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"turn": 0, "w": torch.zeros(2_000_000)}, path)
    program = ("import flambeau as torch, sys\n"
               "for turn in range(1, 10**6):\n"
               "    torch.save({'turn': turn, 'w': torch.full((2_000_000,), float(turn))}, "
               "sys.argv[1])\n"
               "    print(turn, flush=True)")
    for delay in (0.0, 0.003, 0.008, 0.015):
        writer = subprocess.Popen([sys.executable, "-c", program, str(path)],
                                  stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = torch.load(path)
        assert found["turn"] >= 1 and bool((found["w"] == found["turn"]).all())


def test_links_and_modes_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "a.pt", tmp_path / "link.pt"
    torch.save(1, path)
    os.chmod(path, 0o640)
    link.symlink_to(path)
    torch.save(2, link)
    assert link.is_symlink() and torch.load(path) == 2
    assert path.stat().st_mode & 0o777 == 0o640


def test_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "a.safetensors"
    tensors = {"w": torch.arange(6.0).view(2, 3).t(), "b": torch.ones(2, dtype=torch.bfloat16)}
    torch.serialization.save_safetensors(tensors, path, {"note": "x"})
    found = torch.serialization.load_safetensors(path)
    assert found["w"].tolist() == tensors["w"].tolist()
    assert found["b"].dtype is torch.bfloat16
    contents = torch.serialization.inspect(path)
    assert contents.found["w"].shape == (3, 2) and contents.found["__metadata__"] == {"note": "x"}
    with pytest.raises(RuntimeError, match="share memory"):
        torch.serialization.save_safetensors({"a": tensors["b"], "b": tensors["b"]}, path)


def test_inspect_lists_without_loading(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"net": torch.nn.Linear(2, 3), "w": [torch.ones(4)]}, path)
    done = subprocess.run([sys.executable, "-m", "flambeau", "inspect", str(path)],
                          capture_output=True, text=True, check=True)
    assert "Parameter float32 [3, 2]  24 bytes" in done.stdout
    assert "w[0]" in done.stdout and "torch.nn.modules.linear.Linear" in done.stdout
    path.write_bytes(path.read_bytes()[:200])
    done = subprocess.run([sys.executable, "-m", "flambeau", "inspect", str(path)],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "damaged" in done.stderr
