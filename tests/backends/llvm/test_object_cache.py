import os
import subprocess
import sys

import pytest

from flambeau.backends.llvm import jit, object_cache
from flambeau.backends.llvm.host import binding

TEXT = "define i64 @answer() {\n  ret i64 42\n}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    jit.host()  # known, so that this folder does not get it
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))
    return tmp_path / "objects"


def answer(text=TEXT):
    import ctypes

    return ctypes.CFUNCTYPE(ctypes.c_int64)(jit.load(text, ("answer",)).address("answer"))()


def test_an_object_is_stored_once_and_read_again(folder, monkeypatch):
    assert answer() == 42
    (stored,) = folder.iterdir()
    monkeypatch.setattr(binding(), "parse_assembly", None)
    assert answer() == 42
    assert list(folder.iterdir()) == [stored]


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_a_damaged_entry_is_built_again(folder, damage):
    answer()
    (stored,) = folder.iterdir()
    whole = stored.read_bytes()
    changed = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:-9] + bytes([whole[-9] ^ 255]) + whole[-8:],
        "foreign": b"something else entirely",
    }[damage]
    stored.write_bytes(changed)
    assert object_cache.load(stored.name) is None
    assert answer() == 42
    assert stored.read_bytes() == whole


def test_the_key_holds_everything_that_matters(folder, monkeypatch):
    answer()
    answer(TEXT.replace("42", "43"))
    host = jit.host()
    jit.object_code(TEXT)
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr(jit, "host", lambda: host._replace(features=host.features + ",+extra"))
    jit.object_code(TEXT)
    assert len(list(folder.iterdir())) == 3


def test_the_folder_is_bounded(folder):
    for number in range(10):
        object_cache.store(f"{number}", bytes(1000))
        os.utime(folder / str(number), (number, number))
    assert object_cache.load("0") is not None
    object_cache.sweep(folder, 5000)
    left = sorted(path.name for path in folder.iterdir())
    # the one just read counts as new
    assert left == ["0", "7", "8", "9"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(blocked))
    assert answer() == 42


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")
def test_nothing_is_taken_from_a_folder_that_others_may_write(folder):
    object_cache.store("name", b"payload")
    assert object_cache.load("name") == b"payload"
    folder.chmod(0o777)
    assert object_cache.load("name") is None


def test_processes_share_it(folder):
    code = (
        "import sys; from flambeau.backends.llvm import jit\n"
        "for n in range(10): jit.load('define i64 @f() {\\n  ret i64 %d\\n}' % n, ('f',))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    names = [path.name for path in folder.iterdir()]
    assert len(names) == 11  # ten objects and the machine
    assert all(object_cache.load(name) is not None for name in names)


def test_bad_text_and_missing_symbols_raise(folder):
    with pytest.raises(RuntimeError):
        jit.load("define i64 @f(", ("f",))
    text = "declare i64 @no_such_function()\ndefine i64 @f() {\n"
    text += "  %x = call i64 @no_such_function()\n  ret i64 %x\n}\n"
    with pytest.raises(RuntimeError):
        jit.load(text, ("f",))


def test_imports_are_bound_by_address(folder):
    import ctypes

    kept = ctypes.CFUNCTYPE(ctypes.c_int64)(lambda: 7)
    address = ctypes.cast(kept, ctypes.c_void_p).value
    text = "declare i64 @given()\ndefine i64 @answer() {\n"
    text += "  %x = call i64 @given()\n  ret i64 %x\n}\n"
    library = jit.load(text, ("answer",), {"given": address})
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("answer"))() == 7
