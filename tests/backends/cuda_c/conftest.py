"""The programs that several files print, and PTX where the compiler's package is installed."""

import pytest

from flambeau.backends.cuda_c import compile as nvrtc


@pytest.fixture
def ptx():
    """Compiles a source; the assembler checks the result, inline instructions too."""
    if nvrtc.find_library() is None:
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")
    return lambda source: nvrtc.to_ptx(source, "sm_80")
