"""``as_torch``: flambeau under torch's name, in processes of their own."""

from __future__ import annotations

import textwrap

import pytest


@pytest.fixture
def as_torch(python, tmp_path):
    """Runs a program that begins with ``flambeau.as_torch()``; gives the lines that it prints."""

    def start(program: str) -> list[str]:
        code = "import flambeau\nflambeau.as_torch()\n" + textwrap.dedent(program)
        result = python("-c", code, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    return start


def test_modules_are_the_same_objects(as_torch):
    assert as_torch("""
        import sys, torch, torch.backends.cudnn as cudnn
        from torch import cuda
        import flambeau.backends.cudnn
        print(torch is flambeau, cuda is flambeau.cuda, sys.modules["torch.cuda"] is cuda)
        print(cudnn is flambeau.backends.cudnn, torch.backends.cudnn is cudnn)
        print(flambeau.cuda.__spec__.name, torch.__name__, cuda.__name__)
    """) == ["True True True", "True True", "flambeau.cuda torch torch.cuda"]


def test_names_print_as_torch(as_torch):
    assert as_torch("""
        import torch
        print(torch.float32, torch.Tensor, type(torch.tensor(1)))
        print(torch.cuda.OutOfMemoryError, torch.Size, torch.finfo)
        print(type(torch.float32), type(torch.device("cpu")))
    """) == ["torch.float32 <class 'torch.Tensor'> <class 'torch.Tensor'>",
             "<class 'torch.OutOfMemoryError'> <class 'torch.Size'> <class 'torch.finfo'>",
             "<class 'torch.dtype'> <class 'torch.device'>"]


def test_names_print_as_flambeau_otherwise(python):
    code = "import flambeau; print(flambeau.float32, flambeau.Tensor)"
    assert python("-c", code).stdout == "flambeau.float32 <class 'flambeau.Tensor'>\n"


@pytest.mark.xfail(strict=False, reason="torch.cuda is spelled flambeau.cuda when loaded late")
def test_what_programs_ask_about_the_installation(as_torch):
    assert as_torch("""
        import importlib.metadata, torch
        from importlib.util import find_spec
        print(find_spec("torch") is not None)
        print(find_spec("torch.no_such"), find_spec("torch.cuda").name)
        print(importlib.metadata.version("torch"), importlib.metadata.version("Torch"))
        print(torch.__version__, torch.version.__version__, torch.__version__ >= (2, 0))
        print(sum(d.metadata["Name"] == "torch" for d in importlib.metadata.distributions()) > 0)
    """) == ["True", "None flambeau.cuda", "2.13.0 2.13.0", "2.13.0 2.13.0 True", "True"]


def test_missing_names(as_torch):
    assert as_torch("""
        import torch
        print(hasattr(torch, "no_such"), hasattr(torch.cuda, "is_avail"))
        try:
            torch.cuda.is_avilable
        except AttributeError as error:
            print(error)
        for name in ("torch.cdua", "torch.backends.cudn", "torch.cuda.x"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                print(error.name, "|", error)
    """) == [
        "False False",
        "module 'torch.cuda' has no attribute 'is_avilable'",
        "flambeau does not have it (yet). The nearest name that is there: torch.cuda.is_available",
        "torch.cdua | No module named 'torch.cdua'",
        "flambeau does not have it (yet). The nearest name that is there: torch.cuda",
        "torch.backends.cudn | No module named 'torch.backends.cudn'",
        "flambeau does not have it (yet). The nearest name that is there: torch.backends.cudnn",
        "torch.cuda.x | No module named 'torch.cuda.x'",
        "flambeau does not have it (yet).",
    ]


def test_calling_it_twice_changes_nothing(as_torch):
    assert as_torch("""
        import sys, torch
        before = list(sys.meta_path)
        print(flambeau.as_torch() is torch, sys.meta_path == before)
    """) == ["True True"]


def test_another_torch_is_not_replaced(python, tmp_path):
    (tmp_path / "torch.py").write_text("")
    code = "import torch, flambeau\nflambeau.as_torch()"
    result = python("-c", code, cwd=tmp_path)
    assert result.returncode == 1
    assert "ImportError: another torch is imported already, from " in result.stderr
    assert "python -m flambeau run" in result.stderr


def test_a_torch_that_is_only_installed_is_passed_over(as_torch, tmp_path):
    (tmp_path / "torch.py").write_text("raise RuntimeError")
    assert as_torch("import torch; print(torch is flambeau)") == ["True"]


def test_classes_of_modules_imported_later_print_as_torch(as_torch):
    assert as_torch("""
        import flambeau.xpu, flambeau.torch_version
        print(flambeau.xpu.__name__, flambeau.torch_version.TorchVersion)
        import pickle
        print(pickle.loads(pickle.dumps(flambeau.torch_version.TorchVersion("1.2"))) > "1.1")
    """) == ["torch.xpu <class 'torch.torch_version.TorchVersion'>", "True"]
