"""What is imported when it is first asked for is what its file shows."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest

from flambeau.core.face import FACES, _Later
from flambeau.core.tensor import Tensor
from flambeau.ops.later import FILES


@pytest.mark.parametrize("file", FILES)
def test_each_name_is_shown_where_it_is_announced(file: str) -> None:
    importlib.import_module(file if "." in file else f"flambeau.ops.{file}")
    for names, places in FILES[file]:
        for name in names.split():
            for place in places:
                if place == "Tensor":
                    assert not isinstance(Tensor.__dict__[name], _Later), name
                else:
                    assert dict.__contains__(FACES[place], name), f"{name} in {place}"


EVERY_FILE = """
import importlib, sys
import flambeau
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.ops.later import FILES

late = [n if "." in n else "flambeau.ops." + n for n in FILES]
assert not [n for n in late if n in sys.modules]
before = {place: {*face, *face.later} for place, face in FACES.items()}
methods = set(vars(Tensor))
for name in late:
    importlib.import_module(name)
del FACES["sparse"]  # whose functions flambeau.sparse imports by their files
for place, face in FACES.items():
    assert set(face) <= before[place], (place, set(face) - before[place])
assert set(vars(Tensor)) == methods, set(vars(Tensor)) - methods
"""


def test_all_that_a_file_shows_is_announced(python: Callable) -> None:
    done = python("-c", EVERY_FILE)
    assert done.returncode == 0, done.stderr


def test_start_up_imports_none_of_them(python: Callable) -> None:
    code = ("import sys, flambeau as torch\n"
            "assert 'ml_dtypes' not in sys.modules\n"
            "assert hasattr(torch, 'stft') and 'hann_window' in dir(torch)\n"
            "assert torch.eye(2).det().item() == 1\n"
            "assert 'flambeau.ops.linalg' in sys.modules\n"
            "assert 'flambeau.ops.lobpcg' not in sys.modules\n")
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_a_module_shows_all_its_names_at_once(python: Callable) -> None:
    done = python("-c", "import flambeau as torch\n"
                        "assert {'fft', 'rfftn', 'fftshift'} <= set(torch.fft.__all__)\n"
                        "assert {'lu', 'lstsq', 'norm', 'cross'} <= set(torch.linalg.__all__)\n"
                        "assert torch.torch is torch\n")
    assert done.returncode == 0, done.stderr


def test_all_names_at_once(python: Callable) -> None:
    done = python("-c", "from flambeau import *\n"
                        "assert zeros(2).dtype is float32\n"
                        "assert det(eye(2)).item() == einsum('ii', eye(1)).item() == 1\n")
    assert done.returncode == 0, done.stderr
