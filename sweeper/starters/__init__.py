"""Starting files for choices of your own, one for each group, and their tests: `python -m sweeper new GROUP NAME`."""

import ast
import keyword
import sys
from pathlib import Path

from sweeper.choice import SLOTS
from sweeper.config import Config
from sweeper.errors import UserError, format_names, nearest
from sweeper.files import write_text, writing
from sweeper.runs.extension_contract import RESERVED
from sweeper.runs.extension_module import GROUPS, is_free
from sweeper.runs.extensions import CONF
from sweeper.runs.fingerprint import EXTENDABLE, STEPS, entries_of, modules
from sweeper.runs.syntax import used_names

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
    for path, source in zip(paths, (STARTERS[group], starting_test(group)), strict=True):
        text = source.read_text(encoding="utf-8").replace(f"my_{group}", name)
        write_text(path, text.replace(camel_case(f"my_{group}"), camel_case(name)))
    return paths


def check_name(group: str, name: str, folder: Path) -> None:
    """Check that a name can be that of a module and of a choice.

    Raises:
        UserError: it cannot.
    """
    is_plain = name.isidentifier() and name.isascii() and not name.startswith("_") and not keyword.iskeyword(name)
    if not is_plain or name.lower() in (*RESERVED, *SLOTS):
        raise UserError(f"new {group} {name}: name it by an identifier, such as my_{group}")
    path = next(path for path in EXTENDABLE.values() if GROUPS[path] == group)
    taken = {choice for _, _, choice, _ in entries_of(path)} | {file.stem for file in (CONF / group).glob("*.yaml")}
    if name in taken | ({*vars(getattr(Config(), group))} if group in STEPS else set()):
        raise UserError(f"new {group} {name}: there is another {group}={name}; choose another name")
    if name in modules() or name in sys.stdlib_module_names or not is_free(name, str(folder / f"{name}.py")):
        raise UserError(f"new {group} {name}: there is another module of the name {name}; choose another name")
    text = "".join(file.read_text(encoding="utf-8") for file in (STARTERS[group], starting_test(group)))
    renamed = {old: new(name) for new in (str, camel_case) if (old := new(f"my_{group}")) in text}
    meanings = [*({word for word, _ in used_names(ast.parse(text))} - renamed.keys()), *renamed.values()]
    if clashes := [word for word in renamed.values() if meanings.count(word) > 1]:
        raise UserError(f"new {group} {name}: the file would have two meanings of {clashes[0]}; choose another name")


def starting_test(group: str) -> Path:
    """Return the test of a starting file."""
    return FOLDER / f"test_my_{group}.py"


def command_in(file: Path) -> str:
    """Return the command in the docstring of a starting file, which trains with it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(line.strip() for line in lines if line.startswith("    python train.py"))


def camel_case(name: str) -> str:
    """Return the name of a class, such as MyNorm for my_norm."""
    return "".join(part.capitalize() for part in name.split("_"))
