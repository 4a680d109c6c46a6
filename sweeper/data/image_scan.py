"""A walk through folders of images: which files are images, which folders are classes, and what is passed over."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from sweeper.errors import UserError, format_names

SUFFIXES = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
SYSTEM_FOLDERS = ("#recycle", "$recycle.bin", "@eadir", "__macosx", "lost+found", "system volume information")
CACHE_TAG = "CACHEDIR.TAG"  # in a folder of copies (bford.info/cachedir), such as data.cache
LAYOUT = "expected train/<class>/* and test/<class>/*, or <class>/*"
FEW = 5  # names in a sentence

Files = dict[str, list[str]]  # class -> paths of its images


class Scan:
    """A walk through folders of images: it digests what it finds and counts what it passes over."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.passed: Counter[str] = Counter()

    def classes(self, folder: Path, split: str) -> Files:
        """List the images of a folder's class folders, classes and files sorted by name.

        Raises:
            UserError: there is no class folder, one without images, or one whose name is no text.
        """
        names = subfolders(folder)
        loose = sum(is_image(entry) for entry in os.scandir(folder))
        if not names:
            images = f"{loose:,} {'image' if loose == 1 else 'images'}"
            has = f"{images} and no class folders" if loose else "no class folders"
            raise UserError(f"{folder} contains {has}; {LAYOUT}")
        self.passed["images outside of class folders"] += loose
        found: Files = {}
        for name in names:
            text = class_name(folder, name)
            before = self.passed.copy()
            files = sorted(self.images(folder / name))
            if not files:
                others = describe(self.passed - before)
                but = f", but {others}" if others else ""
                raise UserError(f"{folder / name} contains no images ({format_names(SUFFIXES)}){but}; {LAYOUT}")
            for relative, *signature in files:
                self.digest.update(os.fsencode(f"{split}/{name}/{relative}\0{signature}\n"))
            found[text] = [os.path.join(folder, name, relative) for relative, *_ in files]  # noqa: PTH118  many
        return found

    def images(
        self, folder: Path, below: str = "", parents: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, int, int, int]]:
        """Yield the relative path, size and times (ns) of modification and change of the images below a folder."""
        parents = (*parents, os.path.realpath(folder))
        for entry in os.scandir(folder):
            if is_image(entry):
                stat = entry.stat()
                yield below + entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
            elif is_hidden(entry.name):
                continue
            elif entry.is_dir():
                if entry.is_symlink() and os.path.realpath(entry.path) in parents:
                    self.passed["links to a folder above"] += 1
                else:
                    yield from self.images(Path(entry.path), f"{below}{entry.name}/", parents)
            else:
                self.passed[kind_of(entry)] += 1


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones, systems', caches and outputs."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name))
    return [name for name in names if not (folder / name / CACHE_TAG).exists() and not has_outputs(folder / name)]


def has_outputs(folder: Path) -> bool:
    """Return whether a folder is an output folder of this program, or the folder of its runs or sweeps."""
    below = "" if folder.name in ("runs", "sweeps") else "runs/"
    return any(next(folder.glob(f"{below}*/{name}"), None) for name in ("status.json", "sweep.json"))


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def is_image(entry: "os.DirEntry[str]") -> bool:
    return entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file()


def kind_of(entry: "os.DirEntry[str]") -> str:
    """Say what a file that is no image is."""
    if not entry.is_file():
        return "broken links" if entry.is_symlink() else "special files"
    suffix = re.search(r"(\.\w+)?\.\d+$|\.[^.]+$", entry.name)  # photo.jpg.1 is .jpg.1
    return f"{printable(suffix.group().lower())} files" if suffix else "files without a suffix"


def describe(passed: "Counter[str]") -> str:
    """Say what was passed over, most first: ".txt files (3), broken links (1)"."""
    return ", ".join(f"{kind} ({count:,})" for kind, count in passed.most_common() if count > 0)


def few(names: Iterable[str]) -> str:
    """Name up to five, sorted, and the number of the others."""
    ordered = sorted(names)
    return ", ".join(ordered[:FEW]) + (f" and {len(ordered) - FEW:,} more" if len(ordered) > FEW else "")


def class_name(folder: Path, name: str) -> str:
    """Return the name of a class's folder as text, also where the locale reads names of files as another encoding.

    Raises:
        UserError: it has bytes that are not UTF-8.
    """
    try:
        return os.fsencode(name).decode()
    except UnicodeDecodeError:
        raise UserError(f"the name of the class folder {folder}/{printable(name)} is not UTF-8; rename it") from None


def printable(text: str) -> str:
    """Return text with a question mark for each byte that is not UTF-8."""
    return text.encode(errors="replace").decode()
