"""``torch.hub``: weights by address, from files here; repositories in folders."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

import flambeau as torch


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path


def weights(path: Path) -> str:
    torch.save({"w": torch.ones(2)}, path)
    return path.as_uri()


def test_weights_are_kept(folder: Path) -> None:
    url = weights(folder / "a.pt")
    found = torch.hub.load_state_dict_from_url(url, progress=False)
    assert found["w"].tolist() == [1, 1]
    kept = folder / "home" / "hub" / "checkpoints" / "a.pt"
    assert kept.exists() and torch.hub.get_dir() == str(folder / "home" / "hub")
    (folder / "a.pt").unlink()
    assert torch.hub.load_state_dict_from_url(url, weights_only=True)["w"].tolist() == [1, 1]


def test_hashes_are_compared(folder: Path) -> None:
    weights(folder / "x.pt")
    digest = hashlib.sha256((folder / "x.pt").read_bytes()).hexdigest()
    good, bad = folder / f"g-{digest[:8]}.pt", folder / "b-00000000.pt"
    for path in (good, bad):
        path.write_bytes((folder / "x.pt").read_bytes())
    assert torch.hub.load_state_dict_from_url(good.as_uri(), check_hash=True, progress=False)
    with pytest.raises(RuntimeError, match="invalid hash value"):
        torch.hub.load_state_dict_from_url(bad.as_uri(), check_hash=True, progress=False)
    assert not (folder / "home" / "hub" / "checkpoints" / bad.name).exists()


def test_packed_legacy_files(folder: Path) -> None:
    reference = pytest.importorskip("torch")
    content = io.BytesIO()
    reference.save({"w": reference.ones(1)}, content, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(folder / "p.zip", "w") as archive:
        archive.writestr("w.pth", content.getvalue())
    found = torch.hub.load_state_dict_from_url((folder / "p.zip").as_uri(), progress=False)
    assert found["w"].tolist() == [1]


def test_repositories_in_folders(folder: Path) -> None:
    (folder / "hubconf.py").write_text(
        "dependencies = ['numpy']\n"
        "def net(width=2):\n    'A layer.'\n    import flambeau\n"
        "    return flambeau.nn.Linear(width, 1)\n")
    assert torch.hub.load(str(folder), "net", width=3, source="local").in_features == 3
    assert torch.hub.list(str(folder)) == ["net"]
    assert torch.hub.help(str(folder), "net") == "A layer."
    with pytest.raises(RuntimeError, match="Cannot find callable"):
        torch.hub.load(str(folder), "other", source="local")
    with pytest.raises(NotImplementedError, match="clone it"):
        torch.hub.load("owner/name", "net")
    with pytest.raises(ValueError, match="Unknown source"):
        torch.hub.load(str(folder), "net", source="moon")
