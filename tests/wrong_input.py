"""The sentence that train.py exits with, for tests of wrong input."""

import runpy
import sys

import pytest
from processes import REPOSITORY


def error_of(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The sentence that train.py exits with, called in this process to save the import of torch."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(str(REPOSITORY / "train.py"), run_name="__main__")
    assert isinstance(exit_info.value.code, str)  # Python prints it to stderr and exits with 1
    return exit_info.value.code
