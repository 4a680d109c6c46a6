"""The copy of the program and its configs that queued jobs run, so that later edits do not affect them."""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.types import HydraContext

import sweeper
from sweeper.runs.provenance import git_state

PACKAGES = ("sweeper", "hydra_plugins")
CONFIGS = {"main": "conf", "command-line": "config_dir"}  # who provides configs, the latter --config-dir; their folder
EXTEND = "extend"  # the folder of files from outside of the program
Texts = Sequence[tuple[str, str, str]]


def snapshot(configs: Mapping[str, Path], into: Path, extensions: Texts = ()) -> Path:
    """Copy the program, its configs and the files with choices from outside of it.

    Args:
        configs: the folders of configs, by Hydra's name of who provides them.
        into: the folder that gets the copy. With --config-dir=. it is in a folder of configs, and not copied.
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
        for path in sorted(source.rglob("*"))
        if path.is_file() and path.suffix in (".py", ".yaml", ".jinja") and into not in path.parents
        if not any(part.startswith(".") for part in path.relative_to(source).parts)  # the configs of runs, .venv
    }
    files |= {f"{EXTEND}/{Path(file).name}": text.encode() for _, file, text in extensions}
    git = json.dumps(git_state())
    digest = hashlib.sha256(repr((sorted(files.items()), git)).encode()).hexdigest()[:10]
    copy = into / f"code-{digest}"
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
