import pytest

from flambeau.backends.cuda_c import compile as nvrtc

SOURCE = 'extern "C" __global__ void kernel(float *out) { out[0] = BODY; }'


def test_a_source_becomes_ptx_for_the_architecture(ptx):
    text = nvrtc.to_ptx(SOURCE.replace("BODY", "1.0f"))
    assert ".target sm_80" in text and ".visible .entry kernel(" in text
    assert ".target sm_90" in nvrtc.to_ptx(SOURCE.replace("BODY", "1.0f"), "compute_90")


def test_products_and_sums_are_rounded_apart(ptx):
    text = ptx(SOURCE.replace("BODY", "out[1] * out[2] + out[3]"))
    assert "mul.rn.f32" in text and "add.rn.f32" in text and "fma" not in text


def test_a_bad_source_is_refused_with_the_log(ptx):
    with pytest.raises(nvrtc.CompilationError, match='identifier "missing" is undefined'):
        ptx(SOURCE.replace("BODY", "missing"))


def test_a_bad_architecture_is_refused_with_the_log(ptx):
    with pytest.raises(nvrtc.CompilationError, match="gpu-architecture"):
        nvrtc.to_ptx(SOURCE.replace("BODY", "1.0f"), "compute_7")


def test_instructions_that_the_assembler_does_not_know_are_refused(ptx):
    with pytest.raises(nvrtc.CompilationError):
        ptx(SOURCE.replace("out[0] = BODY;", 'asm("cvt.rn.nothing %0, %0;" : "+f"(out[0]));'))


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(nvrtc, "find_library", lambda: None)
    nvrtc._library.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="pip install nvidia-cuda-nvrtc-cu12"):
        nvrtc.to_ptx("")
    nvrtc._library.cache_clear()


def test_no_package_means_no_library(monkeypatch):
    monkeypatch.setattr(nvrtc.importlib.util, "find_spec", lambda name: None)
    assert nvrtc.find_library() is None


@pytest.mark.parametrize("place", [
    "cuda_nvrtc/lib/libnvrtc.so.12",
    "cu13/lib/libnvrtc.so.13",
    "cuda_nvrtc/bin/nvrtc64_120_0.dll",
    "cu13/bin/x86_64/nvrtc64_130_0.dll",
])
def test_the_library_is_found_where_each_package_puts_it(place, tmp_path, monkeypatch):
    found = tmp_path / place
    found.parent.mkdir(parents=True)
    found.touch()
    found.with_name("libnvrtc-builtins.so.12.9").touch()
    found.with_name("nvrtc-builtins64_129.dll").touch()
    spec = nvrtc.importlib.util.spec_from_loader("nvidia", None)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(nvrtc.importlib.util, "find_spec", lambda name: spec)
    assert nvrtc.find_library() == found
