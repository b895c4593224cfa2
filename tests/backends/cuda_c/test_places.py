import pytest

from flambeau.backends.cuda_c import places
from flambeau.backends.llvm.array_program import Gather, Scatter
from flambeau.backends.llvm.program import ITEM_BYTES


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("kind", ITEM_BYTES)
def test_gathers_of_any_kind_compile(kind, each, ptx):
    text = ptx(places.print_gather(Gather(kind, each)))
    assert ".entry kernel" in text and ("ld.global.nc.v4" in text or "v4.u32" in text) != each


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("kind, how", [
    ("f32", "put"), ("f32", "add"), ("i64", "count"), ("i64", "add"), ("bf16", "put"),
    ("bool", "put"),
])
def test_scatters_compile_without_atomics(kind, how, each, ptx):
    text = ptx(places.print_scatter(Scatter(kind, how, each)))
    assert ".entry kernel" in text and "atom" not in text and "red.global" not in text


def test_a_count_reads_no_items():
    text = places.print_scatter(Scatter("i64", "count", False))
    assert "in1" not in text and "const long long *__restrict__ in0" in text


@pytest.mark.parametrize("each", [False, True])
def test_a_grid_has_about_as_many_blocks_as_run(each):
    scatter = Scatter("f32", "add", each)
    for sizes in ((1, 1, 1), (1, 50_000, 768), (64, 10, 100_000), (10**6, 8, 1), (1, 10**6, 1)):
        x, y, z = places.scatter_grid(scatter, *sizes, 264)
        assert 1 <= x and 1 <= y <= sizes[1] and 1 <= z and x * y * z <= 264


@pytest.mark.parametrize("kind", ["bool", "f16", "i8"])
@pytest.mark.parametrize("how", ["add", "count"])
def test_kinds_that_are_only_stored_are_not_added(how, kind):
    with pytest.raises(ValueError, match=f"does not accumulate in {kind}"):
        Scatter(kind, how, False)
