"""What an import of flambeau loads: little beside itself and NumPy."""

import subprocess
import sys

HEAVY = {"asyncio", "concurrent", "hashlib", "llvmlite", "matplotlib", "multiprocessing",
         "numpy.random", "scipy", "socket", "subprocess", "unittest"}
SCRIPT = """
import sys, numpy
before = set(sys.modules)
import flambeau
print(*sorted(set(sys.modules) - before))
"""


def test_heavy_modules_are_loaded_when_needed():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True,
                          check=True)
    loaded = set(done.stdout.split())
    assert "flambeau.core.tensor" in loaded
    assert not loaded & HEAVY
