"""``flambeau run`` against ``python``: the same arguments, names, texts and statuses."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

RUN = ["-m", "flambeau", "run"]

STATE = """
import sys
print(sys.argv, sys.path[0])
print(__name__, __package__, __spec__ and __spec__.name, __doc__)
print(globals().get("__file__"), sys.modules["__main__"].__dict__ is globals())
print(sorted(name for name in globals() if name != "__conditional_annotations__"))
"""

ENDINGS = {
    "error": "def f(x):\n    return 1 / x\n\nf(0)\n",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e\n",
    "context": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}['k']\n",
    "group": "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])\n",
    "syntax": "x = 1\ndef f(:\n    pass\n",
    "indentation": "if True:\nx = 1\n",
    "import error": "import no_such_module_at_all\n",
    "inner syntax": "exec('1 +')\n",
    "status": "import sys\nsys.exit(7)\n",
    "status text": "import sys\nsys.exit('stopped here')\n",
    "no status": "import sys\nsys.exit()\n",
    "raised status": "raise SystemExit([1, 2])\n",
    "own hook": "import sys\nsys.excepthook = lambda k, v, t: print(k, v, t.tb_lineno)\n\n1 / 0\n",
    "annotations": "def f(x: 1 + 1): pass\nprint(f.__annotations__)\n",
    "warning": "import warnings\nwarnings.warn('w')\n",
    "exit code": "import atexit\natexit.register(print, 'last')\nraise OSError(2, 'gone')\n",
    "thread": "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='t')\nt.start()\n"
              "t.join()\n",
}


@pytest.fixture
def same(python, tmp_path):
    """Runs words under ``python`` and under ``flambeau run`` and compares all that can be seen."""

    def compare(*words, input=""):
        plain = python(*words, cwd=tmp_path, input=input)
        ours = python(*RUN, *words, cwd=tmp_path, input=input)
        assert ours.stdout == plain.stdout
        assert ours.stderr == plain.stderr
        assert ours.returncode == plain.returncode
        return ours

    return compare


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


def test_a_script_sees_what_python_shows_it(same, tmp_path):
    write(tmp_path, "deep/er/script.py", STATE)
    result = same("deep/er/script.py", "-h", "--", "--epochs", "3", "")
    assert "'-h', '--', '--epochs', '3', ''" in result.stdout


def test_a_link_to_a_script(same, tmp_path):
    write(tmp_path, "there/script.py", STATE)
    try:
        (tmp_path / "link.py").symlink_to(tmp_path / "there" / "script.py")
    except OSError:
        pytest.skip("no links on this file system")
    same("link.py")


def test_a_module(same, tmp_path):
    write(tmp_path, "package/__init__.py", "")
    write(tmp_path, "package/tool.py", STATE)
    same("-m", "package.tool", "-m", "x")


def test_a_package(same, tmp_path):
    write(tmp_path, "package/__init__.py", "")
    write(tmp_path, "package/__main__.py", STATE)
    same("-m", "package")


def test_a_folder(same, tmp_path):
    write(tmp_path, "folder/__main__.py", STATE)
    same("folder", "a")


def test_code(same):
    same("-c", STATE, "-c", "b")


def test_standard_input(same):
    same("-", "a", input="import sys\nprint(sys.argv, sys.path[0], __name__)\n")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_script_ends_as_under_python(same, tmp_path, ending):
    same(write(tmp_path, "script.py", ENDINGS[ending]))


@pytest.mark.parametrize("ending", ["error", "syntax", "status", "import error"])
def test_a_module_ends_as_under_python(same, tmp_path, ending):
    write(tmp_path, "tool.py", ENDINGS[ending])
    same("-m", "tool")


@pytest.mark.parametrize("content", [
    b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\n", b"\xef\xbb\xbfprint(1)\n",
    b"print(1)\r\nprint(2)\r\n", b"print(1)", b"",
], ids=["cookie", "mark", "carriage returns", "no newline", "empty"])
def test_a_scripts_bytes(same, tmp_path, content):
    (tmp_path / "script.py").write_bytes(content)
    same("script.py")


def test_a_missing_module(python, tmp_path):
    ours = python(*RUN, "-m", "no_such_module", cwd=tmp_path)
    assert ours.returncode == 1
    assert ours.stderr.endswith(": No module named no_such_module\n")


def test_a_missing_script(python, tmp_path):
    plain, ours = (python(*words, "gone.py", cwd=tmp_path) for words in ([], RUN))
    assert (ours.stderr, ours.returncode) == (plain.stderr, plain.returncode)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt(python, tmp_path):
    write(tmp_path, "script.py", "print('before')\nraise KeyboardInterrupt\n")
    plain, ours = (python(*words, "script.py", cwd=tmp_path) for words in ([], RUN))
    assert (ours.stdout, ours.stderr) == (plain.stdout, plain.stderr)
    assert ours.returncode == plain.returncode == -signal.SIGINT


def test_classes_of_main_are_pickled(same, tmp_path):
    same(write(tmp_path, "script.py", (
        "import pickle\n"
        "class Point:\n    x = 1\n"
        "print(type(pickle.loads(pickle.dumps(Point()))))\n")))


CHILDREN = """
import multiprocessing, sys

class Answer:
    def __init__(self, text):
        self.text = text

def work(queue):
    import torch
    queue.put(Answer(torch.__name__ + str(torch.float32)))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,))
    child.start()
    print(queue.get(timeout=60).text)
    child.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_see_torch_too(python, tmp_path, method):
    import multiprocessing  # Asks this platform's methods.
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    script = write(tmp_path, "script.py", CHILDREN)
    ours = python(*RUN, script, method, cwd=tmp_path)
    assert (ours.stdout, ours.returncode) == ("torchtorch.float32\n", 0), ours.stderr


def test_help_and_version(python):
    assert "run a PyTorch program" in python("-m", "flambeau", "--help").stdout
    assert "SCRIPT" in python("-m", "flambeau", "run", "--help").stdout
    assert re.fullmatch(r"flambeau \d+\.\d+\.\d+\n", python("-m", "flambeau", "--version").stdout)
    assert python("-m", "flambeau").returncode == 2
    assert python("-m", "flambeau", "walk").returncode == 2
