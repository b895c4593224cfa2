import re
from pathlib import Path

import pytest

from flambeau.backends.cuda_c import printer, scalars, values
from flambeau.backends.llvm.program import INSTRUCTIONS, Input, Pointwise, Step

GELU = Pointwise(
    (Input("f32"),),
    (
        Step("const", (), 0.5**0.5, "f32"),
        Step("mul", (0, 1)),
        Step("erf", (2,)),
        Step("const", (), 1.0, "f32"),
        Step("add", (3, 4)),
        Step("mul", (0, 5)),
        Step("const", (), 0.5, "f32"),
        Step("mul", (6, 7)),
    ),
    (8,),
)
DOMAINS = {"number": ("f32", "f64", "i32", "i64"), "float": ("f32", "f64"), "bool": ("bool",)}
KINDS = ("f32", "f64", "i32", "i64", "bool", "f16", "bf16", "i8", "u8", "i16")


def every_instruction(kind):
    """A program of all instructions on one kind: values 0 to 2 have it, 3 is a bool."""
    names = [name for name, found in INSTRUCTIONS.items() if kind in DOMAINS[found.domain]]
    steps = []
    for name in names:
        args = (3, 0, 1) if name == "select" else (0, 1, 2)[: INSTRUCTIONS[name].arity]
        steps.append(Step(name, args))
    inputs = (Input(kind), Input(kind), Input(kind), Input("bool"))
    return names, Pointwise(inputs, tuple(steps), tuple(range(4, 4 + len(steps))))


def test_the_table_has_every_instruction_and_no_other():
    assert set(scalars.TABLE) == set(INSTRUCTIONS)


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_an_instruction_uses_each_of_its_operands(name):
    signature = INSTRUCTIONS[name]
    operands = ("va", "vb", "vc")[: signature.arity]
    for kind in DOMAINS[signature.domain]:
        text = scalars.TABLE[name](kind, *operands)
        assert set(re.findall(r"\bv[abc]\b", text)) == set(operands)


@pytest.mark.parametrize("kind", ["f32", "f64", "i32", "i64", "bool"])
def test_every_instruction_compiles(kind, ptx):
    names, program = every_instruction(kind)
    text = printer.print_pointwise(program)
    assert len(re.findall(r"out\d+\[i\] = v\d+;", text)) == len(names)
    assert ptx(text).count("st.global") >= len(names)


def test_the_kinds_together_try_every_instruction():
    tried = {name for kind in KINDS[:5] for name in every_instruction(kind)[0]}
    assert tried == set(INSTRUCTIONS)


@pytest.mark.parametrize("half", ["f16", "bf16"])
def test_every_float_instruction_compiles_between_half_kinds(half, ptx):
    steps = [Step("cast", (number,), None, "f32") for number in range(3)]
    for name, signature in INSTRUCTIONS.items():
        if signature.domain != "bool" and signature.result == "same":
            steps.append(Step(name, (3, 4, 5)[: signature.arity]))
    made = len(steps)
    steps += [Step("cast", (3 + number,), None, half) for number in range(3, made)]
    outputs = tuple(range(3 + made, 3 + len(steps)))
    program = Pointwise((Input(half),) * 3, tuple(steps), outputs)
    assert {program.kinds[number] for number in outputs} == {half}
    text = ptx(printer.print_pointwise(program))
    assert len(re.findall(r"st\.global\.[ub]16", text)) >= len(outputs)
    assert text.count(f"cvt.rn.{half}.f32") >= len(outputs)


def test_the_text_of_a_fused_program_is_known():
    golden = Path(__file__).parent / "texts" / "fused.cu"
    assert printer.print_pointwise(GELU) == golden.read_text("utf-8")


def test_a_fused_program_is_one_entry_with_its_parameters(ptx):
    text = ptx(printer.print_pointwise(GELU))
    assert text.count(".entry") == 1
    assert len(re.findall(r"\.param \.[ub]64", text)) == 3
    loads, stores = text.count("ld.global.f32"), text.count("st.global.f32")
    assert loads == stores > 0


def test_precision_is_never_traded_for_speed(ptx):
    text = printer.print_pointwise(every_instruction("f32")[1])
    assert not re.search(r"\b__(exp|log|sin|cos|pow|tan|fdividef)", text)
    steps = (Step("div", (0, 1)), Step("rsqrt", (0,)), Step("fma", (0, 1, 2)))
    made = ptx(printer.print_pointwise(Pointwise((Input("f32"), Input("f32")), steps, (3, 4))))
    assert "div.rn.f32" in made and "sqrt.rn.f32" in made and "fma.rn.f32" in made
    assert "approx" not in made and "ftz" not in made


@pytest.mark.parametrize("layout, index", [
    ("array", "i"), ("scalar", "0"), ("row", "column"), ("column", "row"),
])
def test_inputs_are_read_where_their_layout_says(layout, index, ptx):
    inputs = (Input("f32"), *(Input(kind, layout) for kind in KINDS))
    text = printer.print_pointwise(Pointwise(inputs, (), tuple(range(1, len(inputs)))))
    assert all(f"in{number}[{index}]" in text for number in range(1, len(inputs)))
    assert "const bool v5 = (in5[" in text and "out4[i] = v5;" in text
    assert ("long long rows" in text) == (layout in ("row", "column"))
    made = ptx(text)
    for width in ("8", "16", "32", "64"):
        assert re.search(rf"ld\.global(\.nc)?\.[usbf]{width}", made)
        assert re.search(rf"st\.global\.[usbf]{width}", made)


def test_a_scalar_and_a_column_are_read_outside_the_loops_over_items():
    inputs = (Input("f32"), Input("f32", "scalar"), Input("f32", "column"), Input("f32", "row"))
    text = printer.print_pointwise(Pointwise(inputs, (Step("fma", (0, 1, 2)),), (4, 3)))
    places = [text.index(part) for part in ("in1[0]", "row = ", "in2[row]", "column = ", "in0[i]")]
    assert places == sorted(places)


@pytest.mark.parametrize("source", KINDS)
def test_conversions_between_all_kinds_compile(source, ptx):
    steps = [Step("cast", (0,), None, target) for target in KINDS]
    outputs = tuple(range(1, 1 + len(steps)))
    assert ptx(printer.print_pointwise(Pointwise((Input(source),), tuple(steps), outputs)))


@pytest.mark.parametrize("source, target, text", [
    ("f64", "i32", "to_i32(v0)"),
    ("f16", "i64", "to_i64(f16_to_f32(v0))"),
    ("f32", "i8", "(signed char)to_i32(v0)"),
    ("i64", "u8", "(unsigned char)v0"),
    ("i16", "bf16", "f32_to_bf16((float)v0)"),
    ("u8", "bool", "(v0 != 0)"),
])
def test_integers_keep_what_the_kernels_for_the_cpu_keep(source, target, text):
    assert values.convert("v0", source, target) == text


CONSTANTS = [
    ("f32", 0.1, "0.1f"),
    ("f32", 16777217.0, "1.6777216e+07f"),
    ("f32", 1e39, "__uint_as_float(0x7f800000u)"),
    ("f32", float("nan"), "__uint_as_float(0x7fc00000u)"),
    ("f32", -0.0, "(-0.0f)"),
    ("f32", 1e-45, "1e-45f"),
    ("f64", 0.1, "0.1"),
    ("f64", float("-inf"), "__longlong_as_double(0xfff0000000000000LL)"),
    ("f64", float("inf"), "__longlong_as_double(0x7ff0000000000000LL)"),
    ("i32", -(2**31), "(-2147483647 - 1)"),
    ("i64", -(2**63), "(-9223372036854775807LL - 1)"),
    ("i64", 2**40, "1099511627776LL"),
    ("i32", -5, "(-5)"),
    ("bool", False, "false"),
]


@pytest.mark.parametrize("kind, number, text", CONSTANTS)
def test_constants_keep_their_value(kind, number, text):
    assert values.literal(kind, number) == text


def test_constants_compile(ptx):
    steps = tuple(Step("const", (), number, kind) for kind, number, _ in CONSTANTS)
    outputs = tuple(range(1, 1 + len(steps)))
    made = ptx(printer.print_pointwise(Pointwise((Input("f32"),), steps, outputs)))
    for bits in ("9223372036854775808", "1099511627776", "-2147483648", "0", "1"):
        assert re.search(rf"\b-?{bits}\b" if bits[0] != "-" else bits, made)


@pytest.mark.parametrize("number, bits", [(0.1, "0f3DCCCCCD"), (1e-45, "0f00000001")])
def test_the_compiler_reads_the_bits_that_were_meant(number, bits, ptx):
    program = Pointwise(
        (Input("f32"),), (Step("const", (), number, "f32"), Step("add", (0, 1))), (2,)
    )
    assert bits in ptx(printer.print_pointwise(program))
