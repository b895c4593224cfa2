import pytest

from flambeau.backends.cuda_c import compile as nvrtc
from flambeau.backends.cuda_c import contraction, plain_product
from flambeau.backends.cuda_c.contraction import Tile
from flambeau.backends.llvm.array_program import Contraction
from flambeau.backends.llvm.program import Input, Pointwise, Step

BIAS = Pointwise(
    (Input("f32"), Input("f32", "row")), (Step("add", (0, 1)), Step("relu", (2,))), (3,)
)


@pytest.mark.parametrize("tile", contraction.PLAIN_TILES)
def test_products_of_float32_multiply_and_add_at_once(tile, ptx):
    text = ptx(contraction.print_contraction(Contraction("f32"), tile))
    assert text.count("fma.rn.f32") >= (tile.rows // 16) ** 2 * plain_product.DEPTH
    assert "ld.shared.v4.f32" in text and "mma" not in text and ".local" not in text


@pytest.mark.parametrize("tile", contraction.PLAIN_TILES)
def test_products_of_float64_go_through_tensor_cores(tile, ptx):
    text = ptx(contraction.print_contraction(Contraction("f64"), tile))
    assert "mma.sync.aligned.m8n8k4.row.col.f64" in text and ".local" not in text


@pytest.mark.parametrize("across", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("tile", contraction.TENSOR_TILES)
@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_half_products_go_through_tensor_cores(kind, tile, across, ptx):
    text = ptx(contraction.print_contraction(Contraction(kind), tile, across))
    assert f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32" in text
    assert "cp.async.cg.shared.global" in text and ".local" not in text
    assert (".trans.shared.b16" in text) == any(across)


def test_the_assembler_takes_them_for_a_later_architecture(ptx):
    for kind in ("f32", "bf16"):
        program = Contraction(kind)
        text = contraction.print_contraction(program, contraction.tile_for(program, 1, 4096, 4096))
        assert ".target sm_90" in nvrtc.to_ptx(text, "sm_90")


def test_an_epilogue_runs_before_the_store(ptx):
    text = contraction.print_contraction(Contraction("f32", BIAS), Tile(64, 64, 256))
    order = ["pool[item]", "v0 = sum", "v1 = in2[column]", "v2 = v0 + v1", "v3 = ", "out0[i] = v3"]
    places = [text.index(part) for part in order]
    assert places == sorted(places) and ptx(text)


def test_tiles_are_small_where_large_ones_are_few():
    assert contraction.tile_for(Contraction("bf16"), 1, 4096, 4096)[:3] == (128, 128, 128)
    assert contraction.tile_for(Contraction("bf16"), 1, 300, 300)[:3] == (64, 64, 128)
    assert contraction.tile_for(Contraction("f64"), 1, 512, 512) == Tile(64, 64, 256)


@pytest.mark.parametrize("kind, epilogue", [
    ("i32", None), ("bool", None),
    ("f16", Pointwise((Input("f16"),), (), (0,))),
    ("f32", Pointwise((Input("f32", "row"),), (), (0,))),
    ("f32", Pointwise((Input("f32"),), (), (0, 0))),
])
def test_products_that_cannot_be_are_refused(kind, epilogue):
    with pytest.raises(ValueError):
        Contraction(kind, epilogue)
