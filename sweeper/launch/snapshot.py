"""The copy of the program and its configs that queued jobs run, so that later edits do not affect them."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.types import HydraContext

import sweeper
from sweeper.runs.provenance import git_state

PACKAGES = ("sweeper", "hydra_plugins")
CONFIGS = {"main": "conf", "command-line": "config_dir"}  # who provides configs, the latter --config-dir; their folder
COPY = "code-"  # begins the names of copies
EXTEND = "extend"  # the folder of files from outside of the program
Texts = Sequence[tuple[str, str, str]]


def snapshot(configs: Mapping[str, Path], into: Path, extensions: Texts = ()) -> Path:
    """Copy the program, its configs and the files with choices from outside of it.

    Args:
        configs: the folders of configs, by Hydra's name of who provides them.
        into: the folder that gets the copy.
        extensions: see sweeper.runs.extensions.loaded_texts.

    Returns:
        The folder of the copy. Its name is a digest of the content, so that equal code is stored once.
    """
    program = Path(sweeper.__file__).parent.parent
    into = into.resolve()
    sources = {name: program / name for name in PACKAGES}
    sources |= {name: configs[provider].resolve() for provider, name in CONFIGS.items() if provider in configs}
    files = {
        f"{name}/{path.relative_to(source)}": path.read_bytes()
        for name, source in sources.items()
        for path in files_below(source, (".py", ".yaml", ".jinja") if name in PACKAGES else (".yaml",))
    }
    files |= {f"{EXTEND}/{Path(file).name}": text.encode() for _, file, text in extensions}
    git = json.dumps(git_state())
    digest = hashlib.sha256(repr((sorted(files.items()), git)).encode()).hexdigest()[:10]
    copy = into / f"{COPY}{digest}"
    if copy.exists():
        return copy
    partial = copy.with_name(f".{copy.name}.{time.time_ns()}.partial")
    for name, content in files.items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (partial / "sweeper" / "git.json").write_text(git, encoding="utf-8")
    try:
        partial.rename(copy)
    except OSError:  # another submission created it at the same time
        shutil.rmtree(partial)
    return copy


def files_below(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield the files of a folder with these suffixes, also behind links.

    Hidden folders, such as .venv and those of the configs of runs, are left out, and so are copies of the program: with
    --config-dir=. they are in a folder of configs.
    """
    seen = set[str]()
    for parent, names, files in os.walk(folder, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith((".", COPY)))
        if (place := os.path.realpath(parent)) in seen:
            names.clear()
            continue
        seen.add(place)
        yield from (Path(parent, file) for file in sorted(files) if Path(file).suffix in suffixes)


def copies(extensions: Texts, code: Path) -> list[tuple[str, str, str]]:
    """Return the files from outside of the program as they are in a copy of it."""
    return [(given, str(code / EXTEND / Path(file).name), text) for given, file, text in extensions]


def with_configs(context: HydraContext, code: Path) -> HydraContext:
    """Return the context with the folders of configs as they are in a copy of the program."""
    path = ConfigSearchPathImpl()
    for element in context.config_loader.get_search_path().get_path():
        copied = CONFIGS.get(element.provider)
        path.append(element.provider, element.path if copied is None else f"file://{code / copied}")
    return HydraContext(config_loader=ConfigLoaderImpl(config_search_path=path), callbacks=context.callbacks)
