"""Loading of files with choices from outside of the package, undone after a test."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigStore

from sweeper import ranges, typed
from sweeper.cli import register_schema
from sweeper.runs import extension_files, extensions, fingerprint


@contextmanager
def undone() -> Iterator[None]:
    """Forget afterwards what is loaded meanwhile. Parsed files stay known by their paths, so use new ones."""
    registries = [extensions.registry_of(path) for path in fingerprint.EXTENDABLE.values()]
    tables: list[dict[Any, Any]] = [*registries, ranges.GROWN, extensions.LOADED, extension_files.TEXTS]
    before = [(table, dict(table)) for table in tables]
    register_schema()
    store = ConfigStore.instance()
    repo = {group: dict(stored) if isinstance(stored, dict) else stored for group, stored in store.repo.items()}
    try:
        yield
    finally:
        for name in extensions.LOADED:
            sys.modules.pop(name, None)
        for table, content in before:
            table.clear()
            table.update(content)
        store.repo = repo
        typed.text_settings.cache_clear()
