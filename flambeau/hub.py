"""``torch.hub``: models and weights by address, kept in a folder; local repositories of models."""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from flambeau.serialization import load as load_file
from flambeau.serialization.atomic import writing

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url",
           "set_dir"]

CHUNK = 1 << 17
HASH = re.compile(r"-([a-f0-9]*)\.")
HUBCONF = "hubconf.py"
NO_GITHUB = ("repositories are loaded from folders here: clone it and say "
             "hub.{call}(FOLDER, ..., source='local')")
_chosen: str | None = None


def get_dir() -> str:
    """The folder where files are kept: TORCH_HOME/hub, or ~/.cache/torch/hub."""
    if _chosen is not None:
        return _chosen
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return os.path.join(os.path.expanduser(home), "hub")


def set_dir(d: str | os.PathLike) -> None:
    """Keep files in this folder."""
    global _chosen
    _chosen = os.path.expanduser(os.fspath(d))


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None,
                         progress: bool = True) -> None:
    """Bring what is at ``url`` (also file://) to the file ``dst``, whole or not at all.

    Raises RuntimeError where its SHA-256 does not begin with ``hash_prefix``.
    """
    digest = hashlib.sha256()
    request = Request(url, headers={"User-Agent": "torch.hub"})
    with urlopen(request) as source, writing(os.path.expanduser(dst)) as file:
        length = source.headers.get("Content-Length")
        for part in _shown(source, int(length) if length else None, progress):
            file.write(part)
            digest.update(part)
        found = digest.hexdigest()
        if hash_prefix and not found.startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{found}")')


def _shown(source: IO[bytes], length: int | None, progress: bool) -> Iterator[bytes]:
    """The parts of a stream, with a bar where tqdm is installed."""
    try:
        # an optional dependency
        from tqdm import tqdm
    except ImportError:
        progress = False
    bar = tqdm(total=length, unit="B", unit_scale=True) if progress else None
    while part := source.read(CHUNK):
        if bar is not None:
            bar.update(len(part))
        yield part
    if bar is not None:
        bar.close()


def load_state_dict_from_url(url: str, model_dir: str | None = None, map_location: Any = None,
                             progress: bool = True, check_hash: bool = False,
                             file_name: str | None = None, weights_only: bool = False
                             ) -> dict[str, Any]:
    """The state dict at ``url`` (also file://), downloaded once and kept in ``model_dir``.

    ``check_hash`` compares the file with the hash in its name (``name-hash.pth``). A ZIP file that
    holds one legacy checkpoint is opened. ``weights_only`` is that of ``torch.load``.
    """
    folder = Path(model_dir or os.path.join(get_dir(), "checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / (file_name or os.path.basename(urlparse(url).path))
    if not kept.exists():
        sys.stderr.write(f'Downloading: "{url}" to {kept}\n')
        found = HASH.search(kept.name) if check_hash else None
        download_url_to_file(url, str(kept), found[1] if found else None, progress)
    if _is_packed(kept):
        with zipfile.ZipFile(kept) as archive:
            name = archive.namelist()[0]
            if len(archive.namelist()) != 1:
                raise RuntimeError("Only one file(not dir) is allowed in the zipfile")
            kept = Path(archive.extract(name, folder))
    return load_file(kept, map_location, weights_only=weights_only)


def _is_packed(path: Path) -> bool:
    """Whether a file is a ZIP file around a checkpoint, and not one itself."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return not any(name.endswith(("data.pkl", "constants.pkl")) for name in archive.namelist())


def _hubconf(folder: str, source: str, call: str) -> ModuleType:
    """The module hubconf of a repository in a folder."""
    if source.lower() not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source.lower() == "github" and not os.path.isfile(os.path.join(folder, HUBCONF)):
        raise NotImplementedError(NO_GITHUB.format(call=call))
    path = os.path.join(os.path.expanduser(folder), HUBCONF)
    spec = importlib.util.spec_from_file_location("hubconf", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    missing = [m for m in getattr(module, "dependencies", ())
               if importlib.util.find_spec(m) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    return module


def _entry(module: ModuleType, name: str) -> Callable:
    if not isinstance(name, str):
        raise ValueError("Invalid input: model should be a string of function name")
    found = getattr(module, name, None)
    if not callable(found):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return found


def load(repo_or_dir: str, model: str, *args: Any, source: str = "github",
         trust_repo: Any = "check", force_reload: bool = False, verbose: bool = True,
         skip_validation: bool = False, **kwargs: Any) -> Any:
    """What the function ``model`` of a repository's ``hubconf.py`` returns.

    Repositories are folders (``source="local"``); those of GitHub have to be cloned first.
    """
    return _entry(_hubconf(repo_or_dir, source, "load"), model)(*args, **kwargs)


def list(github: str, force_reload: bool = False, skip_validation: bool = False,
         trust_repo: Any = "check", verbose: bool = True) -> builtins.list[str]:
    """The names of the functions that a repository in a folder offers."""
    module = _hubconf(github, "github", "list")
    return [n for n, f in vars(module).items() if callable(f) and not n.startswith("_")]


def help(github: str, model: str, force_reload: bool = False, skip_validation: bool = False,
         trust_repo: Any = "check") -> str | None:
    """The docstring of a function that a repository in a folder offers."""
    return _entry(_hubconf(github, "github", "help"), model).__doc__
