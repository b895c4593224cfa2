"""Objects go to a folder of the session's own; without llvmlite there is nothing to test."""

import pytest

from flambeau.backends import large, threads

collect_ignore_glob = [] if large.available() else ["test_*.py"]


@pytest.fixture(autouse=True, scope="session")
def object_folder(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path_factory.mktemp("flambeau-cache")))
    yield
    patch.undo()


@pytest.fixture
def two_threads():
    before = threads.get_num_threads()
    threads.set_num_threads(2)
    yield
    threads.set_num_threads(before)
