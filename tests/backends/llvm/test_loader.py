"""Objects placed without LLVM do as those that LLVM's linker places."""

import ctypes
import os
import subprocess
import sys
import textwrap

import pytest

from flambeau.backends.llvm import host, jit, loader

here = pytest.mark.skipif(not loader._is_place(), reason="LLVM's linker places objects here")
I64 = ctypes.c_int64
TEXT = """
@count = internal global i64 40, align 64
@table = internal constant [4 x double] [double 1.0, double 2.0, double 3.0, double 4.5], align 32
@room = internal global [512 x i64] zeroinitializer, align 64
declare i64 @given(i64)
declare double @pow(double, double)
define i64 @next() {
  %old = load i64, ptr @count
  %new = add i64 %old, 1
  store i64 %new, ptr @count
  %place = getelementptr [512 x i64], ptr @room, i64 0, i64 %old
  store i64 %new, ptr %place
  %read = load i64, ptr %place
  ret i64 %read
}
define double @look(i64 %at) {
  %place = getelementptr [4 x double], ptr @table, i64 0, i64 %at
  %x = load double, ptr %place
  %y = fmul double %x, 1.25
  %z = call double @pow(double %y, double 2.0)
  ret double %z
}
define i64 @ask(i64 %x) {
  %own = call i64 @next()
  %r = call i64 @given(i64 %x)
  %s = add i64 %r, %own
  ret i64 %s
}
"""
EXPORTS = ("next", "look", "ask")


@pytest.fixture
def given():
    function = ctypes.CFUNCTYPE(I64, I64)(lambda x: 1000 * x)
    yield {"given": ctypes.cast(function, ctypes.c_void_p).value}
    del function


def results(image):
    call = ctypes.CFUNCTYPE(I64)(image["next"])
    look = ctypes.CFUNCTYPE(ctypes.c_double, I64)(image["look"])
    ask = ctypes.CFUNCTYPE(I64, I64)(image["ask"])
    return [call(), call(), look(0), look(3), ask(7), call()]


@here
def test_code_constants_variables_and_symbols_of_both_kinds(given):
    code = jit.object_code(TEXT)
    image = loader.load(code, EXPORTS, given)
    assert results(image) == [41, 42, 1.25**2, (4.5 * 1.25) ** 2, 7043, 44]
    linked = jit._linked(code, EXPORTS, given, False)
    assert results(linked) == results(loader.load(code, EXPORTS, given))


@here
def test_every_load_has_variables_of_its_own(given):
    code = jit.object_code(TEXT)
    first, second = (loader.load(code, EXPORTS, given) for _ in range(2))
    assert results(first)[0] == results(second)[0] == 41


@here
def test_code_is_not_writable_and_goes_with_its_image(given):
    code = jit.object_code(TEXT)
    image = loader.load(code, EXPORTS, given)
    place = image["next"]

    def rights():
        with open("/proc/self/maps") as maps:
            for line in maps:
                start, end = (int(x, 16) for x in line.split()[0].split("-"))
                if start <= place < end:
                    return line.split()[1]
        return None

    assert rights() == "r-xp"
    del image
    assert rights() != "r-xp"


@here
def test_missing_symbols_are_named(given):
    code = jit.object_code(TEXT)
    with pytest.raises(RuntimeError, match="nothing_such"):
        loader.load(code, ("nothing_such",), given)
    wanting = jit.object_code("declare i64 @no_such_symbol()\ndefine i64 @f() {\n"
                              "  %r = call i64 @no_such_symbol()\n  ret i64 %r\n}\n")
    with pytest.raises(RuntimeError, match="no_such_symbol"):
        loader.load(wanting, ("f",), {})


@here
@pytest.mark.parametrize("change", ["cut", "other machine", "not an object", "linked already"])
def test_what_is_no_such_object_is_left_to_llvm(change, given):
    code = bytearray(jit.object_code(TEXT))
    if change == "cut":
        code = code[:len(code) // 2]
    elif change == "other machine":
        code[18:20] = (183).to_bytes(2, "little")
    elif change == "linked already":
        code[16:18] = (3).to_bytes(2, "little")
    else:
        code = bytearray(b"MZ" + bytes(code[2:]))
    assert loader.load(bytes(code), EXPORTS, given) is None


@here
def test_unknown_relocations_are_left_to_llvm(given):
    code = jit.object_code(TEXT)
    changed = 0
    found = loader._Object(code, given)
    raw = bytearray(code)
    for section in found.sections:
        if section.type == loader._RELA:
            place, info, addend = loader._RELOCATION.unpack_from(raw, section.offset)
            loader._RELOCATION.pack_into(raw, section.offset, place, info >> 32 << 32 | 10, addend)
            changed += 1
    assert changed
    assert loader.load(bytes(raw), EXPORTS, given) is None


def test_where_objects_cannot_be_placed_llvm_links_them(monkeypatch, given):
    monkeypatch.setattr(loader, "load", lambda *args: None)
    library = jit.load(TEXT, EXPORTS, given)
    assert ctypes.CFUNCTYPE(I64)(library.address("next"))() == 41


@here
def test_a_second_process_does_not_load_llvm(tmp_path):
    program = textwrap.dedent("""
        import sys
        import flambeau as torch
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(40, 300), torch.nn.Tanh(),
                                  torch.nn.Linear(300, 1))
        optimizer = torch.optim.Adam(net.parameters())
        x = torch.randn(256, 40)
        @torch.compile
        def step():
            optimizer.zero_grad()
            loss = (net(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss
        print([step().item() for _ in range(4)], step._unit.runs > 0)
        print("llvmlite.binding" in sys.modules)
    """)
    told = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                              check=True, env={**os.environ, "FLAMBEAU_CACHE_DIR": str(tmp_path)})
        told.append(done.stdout.splitlines())
    assert told[0][0] == told[1][0] and told[0][0].endswith("True")
    assert [t[1] for t in told] == ["True", "False"]


def test_the_machine_kept_on_disk_is_the_one_that_llvm_sees():
    host.host.cache_clear()
    try:
        assert host.host() == host._asked()
        host.host.cache_clear()
        assert host.host() == host._asked()
    finally:
        host.host.cache_clear()


def test_modules_compiled_side_by_side_are_those_compiled_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path / "one"))
    texts = [f"define i64 @f(i64 %x) {{\n  %y = mul i64 %x, {n}\n  ret i64 %y\n}}\n"
             for n in range(3, 9)]
    alone = [jit.object_code(text) for text in texts]
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path / "other"))
    found = jit.load_all([(text, ("f",)) for text in texts])
    call = ctypes.CFUNCTYPE(I64, I64)
    assert [call(library.address("f"))(2) for library in found] == [6, 8, 10, 12, 14, 16]
    assert [jit.object_code(text) for text in texts] == alone


def test_an_error_in_one_of_several_modules_is_raised(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))
    good = "define i64 @f() {\n  ret i64 1\n}\n"
    with pytest.raises(RuntimeError):
        jit.load_all([(good, ("f",)), ("define i64 @f() {\n  ret i32 1\n}\n", ("f",))])
    assert ctypes.CFUNCTYPE(I64)(jit.load_all([(good, ("f",))])[0].address("f"))() == 1
