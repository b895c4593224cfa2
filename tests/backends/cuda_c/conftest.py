"""PTX where the compiler's package is installed, and a GPU to run it where there is one."""

import pytest

from flambeau.backends.cuda_c import compile as nvrtc

from . import device as devices


@pytest.fixture
def ptx():
    """Compiles a source; the assembler checks the result, inline instructions too."""
    if nvrtc.find_library() is None:
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")
    return lambda source: nvrtc.to_ptx(source, "sm_80")


@pytest.fixture(scope="session")
def device(tmp_path_factory):
    """Runs kernels on the first GPU."""
    return devices.find(tmp_path_factory.mktemp("ptx"))
