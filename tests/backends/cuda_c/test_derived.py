"""The programs that operators, losses and compiled steps give all print as CUDA C and compile."""

import importlib
import pkgutil

import numpy as np
import pytest

import flambeau
from flambeau.backends import large
from flambeau.backends.cuda_c import compile as nvrtc
from flambeau.backends.cuda_c import printer, reduce, rows
from flambeau.backends.llvm.program import Pointwise, Reduction, Rows

if not large.available():
    pytest.skip("no programs are made without kernels", allow_module_level=True)

# kernels that are compiled at once; parameters of operators that are no numbers
BATCH = 48
VALUES = {"approximate": "tanh"}
nn = flambeau.nn


def text_of(program):
    """All kernels of a program."""
    if isinstance(program, Pointwise):
        return [printer.print_pointwise(program)]
    if isinstance(program, Rows):
        return [rows.print_rows(program)]
    return [reduce.print_rows(program), reduce.print_columns(program)]


def compile_all(programs):
    """Compile many kernels at once, each in a namespace of its own."""
    texts = [text for program in dict.fromkeys(programs) for text in text_of(program)]
    for first in range(0, len(texts), BATCH):
        some = texts[first : first + BATCH]
        named = [
            f"namespace n{n} {{\n{text.replace(' kernel(', f' kernel{n}(')}\n}}\n"
            for n, text in enumerate(some)
        ]
        made = nvrtc.to_ptx("\n".join(named))
        assert made.count(".entry kernel") == len(some)


@pytest.fixture
def compiler():
    if nvrtc.find_library() is None:
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")


def derived(op):
    """The programs of an elementwise operator on every kind that it has one for."""
    from flambeau.backends.llvm.expressions import Builder
    from flambeau.core.formulas import KINDS, instructions_of

    for held, kind in KINDS.items():
        b = Builder()
        symbols = [b.input(kind) for _ in op.inputs]
        result = np.dtype(bool) if op.result == "bool" else held
        params = {name: VALUES.get(name, 0.5) for name in op.params}
        if kind == "bool" and op.name in ("fmax", "fmin"):
            continue
        found = instructions_of(op, symbols, held, result, params, b)
        if found is not None:
            yield b.pointwise(found)


def test_elementwise_operators(compiler):
    from flambeau import ops
    from flambeau.core.op import OPS

    for module in pkgutil.walk_packages(ops.__path__, "flambeau.ops."):
        importlib.import_module(module.name)
    elementwise = [op for op in OPS.values() if op.kind == "pointwise" or op.as_operands]
    programs = {op.name: list(derived(op)) for op in elementwise}
    made = [name for name, found in programs.items() if found]
    assert len(made) > 90 and {"add", "gelu", "where", "lgamma"} <= set(made)
    compile_all([program for found in programs.values() for program in found])


def test_reductions(compiler):
    from flambeau.backends import reductions

    programs = []
    for name in reductions.PROGRAMS:
        for dtype in map(np.dtype, ("f4", "f8", "i4", "i8", "?", "f2", "i1", "u1", "i2")):
            found = reductions._program(name, dtype)
            programs += [] if found is None else [found[0]]
    assert len(programs) > 80 and all(isinstance(p, Reduction) for p in programs)
    compile_all(programs)


@pytest.fixture
def ran(monkeypatch):
    """The programs of all kernels that run from here on, and of steps that are compiled."""
    from flambeau.backends.llvm import calls
    from flambeau.backends.llvm import rows as llvm_rows
    from flambeau.compiler import kernels

    found = []

    def note(owner, name):
        before = getattr(owner, name)

        def run(self, *args, **kwargs):
            found.append(self.program)
            return before(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, run)

    for name in ("run", "run_checked"):
        note(calls.PointwiseKernel, name)
    for name in ("run", "run_across"):
        note(llvm_rows.RowsKernel, name)
    before = kernels.Design.__init__

    def design(self, program, *args):
        found.append(program)
        before(self, program, *args)

    monkeypatch.setattr(kernels.Design, "__init__", design)
    monkeypatch.setattr(kernels, "_DESIGNS", {})
    return found


def layers(x, target, weight):
    """Losses and norms over rows, of a tensor of many."""
    f = nn.functional
    yield f.softmax(x, -1).square().sum()
    yield f.log_softmax(x, -1).square().sum()
    yield f.layer_norm(x, x.shape[1:], weight, weight).square().sum()
    yield f.rms_norm(x, x.shape[1:], weight).square().sum()
    yield f.gelu(x).sum()
    yield f.silu(x).sum()
    yield x.var(1).sum() + x.std().sum() + x.logsumexp(1).sum() + x.norm()
    if target is not None:
        yield f.cross_entropy(x, target)
        yield f.mse_loss(x, x * 0.5) + f.smooth_l1_loss(x, x * 0.25)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_rows_and_losses_with_their_gradients(dtype, compiler, ran):
    kind = getattr(flambeau, dtype)
    flambeau.manual_seed(0)
    weight = flambeau.randn(210).to(kind).requires_grad_()
    target = flambeau.randint(0, 210, (300,))
    x = flambeau.randn(300, 210).to(kind).requires_grad_()
    for loss in layers(x, target, weight):
        loss.backward()
    assert sum(isinstance(program, Rows) for program in ran) >= 5
    compile_all(ran)


def test_a_compiled_step(compiler, ran):
    flambeau.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 96), nn.LayerNorm(96), nn.GELU(), nn.Dropout(0.1),
                          nn.Linear(96, 10))
    optimizer = flambeau.optim.AdamW(model.parameters(), 1e-3)
    x, y = flambeau.randn(512, 64), flambeau.randint(0, 10, (512,))

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    compiled = flambeau.compile(step)
    for _ in range(2):
        compiled()
    assert len(ran) > 3
    compile_all(ran)
