"""Fixtures of the tests of the summary."""

from pathlib import Path

import pytest
from records import TEST_ACCS, finish, make


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Make two activations with three and two finished seeds, and a failed run of the second."""
    for (activation, seed), test_acc in TEST_ACCS.items():
        accs = [*[test_acc - 0.1] * seed, test_acc + 0.1]  # converges in epoch 1 + seed
        finish(tmp_path, f"{activation}-{seed}", accs, test_acc, seed=seed, activation={"name": activation})
    failed = make(tmp_path, "selu-2", [0.99], "failed", seed=2, activation={"name": "selu"})
    status = failed.status() or {}
    failed.write_status(**{key: status[key] for key in ("state",)}, error="Traceback ...\nRuntimeError: no memory")
    return tmp_path
