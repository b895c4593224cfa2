"""The examples in small: they run, learn, and give the same numbers each time."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Calls ``run`` of an example where torch is flambeau, and gives what it returned."""

    def call(name: str, **settings: Any) -> Any:
        program = (f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\n"
                   "import torch\nassert 'flambeau' in torch.__file__\n"
                   f"import {name}\nprint('RESULT', repr({name}.run(quiet=True, **{settings!r})))")
        done = subprocess.run([sys.executable, "-m", "flambeau", "run", "-c", program],
                              capture_output=True, text=True, timeout=300,
                              cwd=tmp_path_factory.mktemp(name))
        assert done.returncode == 0, done.stderr
        return eval(done.stdout.split("RESULT", 1)[1])

    return call


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("common")


def test_progress_gives_the_items(modules: ModuleType) -> None:
    assert list(modules.progress([1, 2], "x", quiet=True)) == [1, 2]


@pytest.mark.slow
def test_digits(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    picture, weights = tmp_path / "a.png", tmp_path / "digits.pt"
    accuracy = run("digits_cnn", epochs=6, picture=str(picture), save=str(weights))
    assert accuracy > 0.95 and picture.stat().st_size > 10_000
    tuned, fresh = run("fine_tune", checkpoint=str(weights), steps=40)
    assert tuned > 0.9 and tuned > fresh
    assert run("fine_tune", checkpoint=str(weights), steps=40) == (tuned, fresh)


@pytest.mark.slow
@pytest.mark.parity
def test_fine_tuning_from_a_checkpoint_of_pytorch(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    weights = tmp_path / "digits.pt"
    program = (f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\nimport digits_cnn\n"
               f"digits_cnn.run(epochs=3, save={str(weights)!r}, quiet=True)")
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300, cwd=tmp_path)
    tuned, fresh = run("fine_tune", checkpoint=str(weights), steps=40)
    assert tuned > 0.85 and tuned > fresh


def test_sunspots(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "a.png"
    error, naive = run("sunspots_lstm", epochs=150, picture=str(picture))
    assert error < 0.8 * naive and picture.exists()


def test_autoencoder(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first, last = run("digits_vae", epochs=6, picture=str(tmp_path / "a.png"))
    assert last < first - 2


def test_gpt(run: Any) -> None:
    first, last, written = run("char_gpt", steps=40, count=20)
    assert first > 4 and last < 3.4 and len(written) == 24


@pytest.mark.slow
def test_cartpole(run: Any) -> None:
    pytest.importorskip("gymnasium")
    best, lengths = run("cartpole", rounds=12)
    assert best > 2 * sum(lengths[:20]) / 20
