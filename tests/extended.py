"""Loading of files with choices from outside of the package, undone after a test."""

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.config_store import ConfigStore

from sweeper import ranges, typed
from sweeper.cli import register_schema
from sweeper.runs import extension_files, extensions, fingerprint

CACHED = (
    fingerprint.modules,
    fingerprint.syntax_hash,
    fingerprint.references,
    fingerprint.chosen_code,
    fingerprint.step_settings,
    extension_files.parsed,
)


@contextmanager
def undone() -> Iterator[None]:
    """Forget afterwards what is loaded meanwhile."""
    registries = [extensions.registry_of(path) for path in fingerprint.EXTENDABLE.values()]
    tables = [*registries, ranges.GROWN, extensions.LOADED, extension_files.TEXTS]
    before = [(table, dict(table)) for table in tables]  # type: ignore[call-overload]
    register_schema()
    store = ConfigStore.instance()
    repo = copy.deepcopy(store.repo)
    try:
        yield
    finally:
        for name in extensions.LOADED:
            sys.modules.pop(name, None)
        for table, content in before:
            for key in [key for key in table if key not in content]:
                del table[key]
            table.update(content)
        store.repo = repo
        typed.text_settings.cache_clear()
        for function in CACHED:
            function.cache_clear()
