"""Starting files for choices of your own, one for each group, and their tests: `python -m sweeper new GROUP NAME`."""

import keyword
import sys
from pathlib import Path

from sweeper.errors import UserError, format_names, nearest
from sweeper.files import write_text, writing
from sweeper.runs.extension_contract import RESERVED
from sweeper.runs.extension_module import GROUPS, is_free
from sweeper.runs.fingerprint import EXTENDABLE, entries_of, modules

FOLDER = Path(__file__).parent
STARTERS = {group: FOLDER / f"my_{group}.py" for group in sorted({GROUPS[path] for path in EXTENDABLE.values()})}


def write_starter(group: str, name: str, folder: Path) -> list[Path]:
    """Write NAME.py, a working choice of a group, and test_NAME.py, and return their paths.

    Raises:
        UserError: there is no such group, the name is not usable, or a file exists or cannot be written.
    """
    if group not in STARTERS:
        raise UserError(f"new {group}: unknown group{nearest(group, STARTERS)}; choose from {format_names(STARTERS)}")
    check_name(group, name, folder)
    paths = [folder / f"{name}.py", folder / f"test_{name}.py"]
    if existing := [str(path) for path in paths if path.exists()]:
        raise UserError(f"{existing[0]} exists; choose another name, or remove it")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for path, source in zip(paths, (STARTERS[group], FOLDER / f"test_my_{group}.py"), strict=True):
        text = source.read_text(encoding="utf-8").replace(f"my_{group}", name)
        write_text(path, text.replace(camel_case(f"my_{group}"), camel_case(name)))
    return paths


def check_name(group: str, name: str, folder: Path) -> None:
    """Check that a name can be that of a module and of a choice.

    Raises:
        UserError: it cannot.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name.lower() in RESERVED:
        raise UserError(f"new {group} {name}: name it by an identifier, such as my_{group}")
    path = next(path for path in EXTENDABLE.values() if GROUPS[path] == group)
    if name in {choice for _, _, choice, _ in entries_of(path)}:
        raise UserError(f"new {group} {name}: there is another {group}={name}; choose another name")
    if name in modules() or name in sys.stdlib_module_names or not is_free(name, str(folder / f"{name}.py")):
        raise UserError(f"new {group} {name}: there is another module of the name {name}; choose another name")


def camel_case(name: str) -> str:
    """Return the name of a class, such as MyNorm for my_norm."""
    return "".join(part.capitalize() for part in name.split("_"))
