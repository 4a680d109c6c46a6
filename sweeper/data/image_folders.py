"""Folders of images: which folder holds which split, which files are images, and what is passed over."""

import hashlib
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sweeper.errors import UserError, format_names, warn_once

log = logging.getLogger(__name__)

SUFFIXES = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
TRAIN, TEST, VAL = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
SYSTEM_FOLDERS = ("#recycle", "$recycle.bin", "@eadir", "__macosx", "lost+found", "system volume information")
CACHE_TAG = "CACHEDIR.TAG"  # in a folder of copies (bford.info/cachedir), such as data.cache
LAYOUT = "expected train/<class>/* and test/<class>/*, or <class>/*"
FEW = 5  # names in a sentence
TEST_SHARE = 5  # one image in five is a test image where the folder does not say which

Files = dict[str, list[str]]  # class -> paths of its images


@dataclass
class Listing:
    """The images of a dataset.

    Attributes:
        train, test: paths by class.
        key: digest of names, sizes and times; it changes when the files do.
    """

    classes: list[str]
    train: Files
    test: Files
    key: str


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
            has = f"{loose:,} images and no class folders" if loose else "no class folders"
            raise UserError(f"{folder} contains {has}; {LAYOUT}")
        self.passed["images outside of class folders"] += loose
        found: Files = {}
        for name in names:
            check_name(folder, name)
            before = self.passed.copy()
            files = sorted(self.images(folder / name))
            if not files:
                others = describe(self.passed - before)
                but = f", but {others}" if others else ""
                raise UserError(f"{folder / name} contains no images ({format_names(SUFFIXES)}){but}; {LAYOUT}")
            for relative, size, modified in files:
                self.digest.update(os.fsencode(f"{split}/{name}/{relative}\0{size}\0{modified}\n"))
            found[name] = [os.path.join(folder, name, relative) for relative, _, _ in files]  # noqa: PTH118  many
        return found

    def images(self, folder: Path, below: str = "", parents: tuple[str, ...] = ()) -> Iterator[tuple[str, int, int]]:
        """Yield the relative path, the size and the time in nanoseconds of the images in a folder and below it."""
        parents = (*parents, os.path.realpath(folder))
        for entry in os.scandir(folder):
            if is_image(entry):
                stat = entry.stat()
                yield below + entry.name, stat.st_size, stat.st_mtime_ns
            elif is_hidden(entry.name):
                continue
            elif entry.is_dir():
                if entry.is_symlink() and os.path.realpath(entry.path) in parents:
                    self.passed["links to a folder above"] += 1
                else:
                    yield from self.images(Path(entry.path), f"{below}{entry.name}/", parents)
            else:
                self.passed[kind_of(entry)] += 1


def list_images(root: Path) -> Listing:
    """List the images of root/train/<class>/ and root/test/<class>/, or of root/<class>/.

    Without test/, the images of val/ are the test images; without splits, a random fifth of each class. What is passed
    over is reported, once in a process.

    Raises:
        UserError: a folder is missing, empty or unreadable, the classes of the splits differ, or there is only one.
    """
    try:
        return listed(root)
    except OSError as error:
        raise UserError(f"data.root={root} cannot be read: {error}") from error


def listed(root: Path) -> Listing:
    scan, notes = Scan(), []
    if not root.is_dir():
        unpack = "is not a folder; unpack it" if root.exists() else "folder not found"
        raise UserError(f"data.root={root}: {unpack}; {LAYOUT}")
    found = [first_of(root, names) for names in (TRAIN, TEST, VAL)]
    train, test, val = found
    if not any(found) or is_class(root, *filter(None, found)):
        check_unsplit(root)
        splits = held_out(root, scan.classes(root, "all"))
        notes.append("no train/ and test/: a random fifth of each class are the test images")
        train = root
    else:
        if test is None or (val is not None and not subfolders(test)):
            what = "no test/" if test is None else f"no class folders in {test.name}/"
            notes += [f"{what}: the images of {val.name}/ are the test images"] if val is not None else []
            test = val
        elif val is not None:
            notes.append(f"{val.name}/ is passed over: validation images are held out of train/")
        if train is None or test is None:
            alone = f"; or, to hold a fifth of {train} out as test images, data.root={train}" if train else ""
            missing = root / ("train" if train is None else "test")
            raise UserError(f"data.root={root}: folder {missing} not found; {LAYOUT}{alone}")
        scan.passed["folders beside the splits"] += len({root / name for name in subfolders(root)} - {*found})
        splits = same_names(train, test, scan.classes(train, "train"), scan.classes(test, "test"))
    classes = sorted(splits[0])
    if len(classes) == 1:
        raise UserError(f"{train} has images of one class, {classes[0]}; training needs at least two classes")
    if text := describe(scan.passed):
        notes.append(f"passed over: {text}")
    if notes:
        warn_once(log, f"data.root={printable(str(root))}: {'; '.join(notes)}")
    return Listing(classes, *splits, key=scan.digest.hexdigest())


def is_class(root: Path, *found: Path) -> bool:
    """Return whether a folder named like a split is a class, such as trains: a single one, of images, among others."""
    return len(found) == 1 and len(subfolders(root)) > 1 and not subfolders(found[0])


def first_of(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the subfolder that has the first of the names, if need be in other letters' case."""
    found = {name.lower(): root / name for name in reversed(subfolders(root))}  # train before Train, if both exist
    for name in names:
        if (root / name).is_dir():
            return root / name
        if name in found:
            return found[name]
    return None


def check_unsplit(root: Path) -> None:
    """Refuse a folder beside or above the one that is meant, and splits of other names.

    Raises:
        UserError: the sentence names the folder that is meant.
    """
    above = root.resolve().parent
    if root.resolve().name.lower() in TRAIN and (other := first_of(above, (*TEST, *VAL))) and subfolders(other):
        raise UserError(f"data.root={root} is one split; choose the folder above it, data.root={above}")
    names = subfolders(root)
    words = {word for name in names for word in re.findall("[a-z]+", name.lower())}
    if words.intersection(TRAIN) and words.intersection((*TEST, *VAL)):
        raise UserError(f"the folders of data.root={root} look like splits ({few(names)}); name them train/ and test/")
    for name in names:
        if first_of(root / name, TRAIN) is not None:
            raise UserError(f"data.root={root} has no train/, but {name}/ has; choose data.root={root / name}")
    if len(names) == 1 and len(subfolders(root / names[0])) > 1:
        raise UserError(f"data.root={root} has one class folder, {names[0]}; choose data.root={root / names[0]}")


def held_out(root: Path, files: Files) -> tuple[Files, Files]:
    """Draw a fifth of each class as test images, always the same."""
    train: Files = {}
    test: Files = {}
    generator = np.random.Generator(np.random.PCG64(0))
    for name, paths in files.items():
        if len(paths) < 2:
            raise UserError(f"{root / name} has one image; a class needs two, since one in five becomes a test image")
        drawn = set(generator.permutation(len(paths))[: max(1, len(paths) // TEST_SHARE)].tolist())
        test[name] = [path for index, path in enumerate(paths) if index in drawn]
        train[name] = [path for index, path in enumerate(paths) if index not in drawn]
    return train, test


def same_names(train_folder: Path, test_folder: Path, train: Files, test: Files) -> tuple[Files, Files]:
    """Name the classes of both splits as in train/; composed and decomposed letters are the same.

    Raises:
        UserError: a split lacks a class of the other.
    """
    spelling: dict[str, str] = {}
    for name in train:
        spelling.setdefault(unicodedata.normalize("NFC", name), name)
    named: tuple[Files, Files] = ({}, {})
    for split, files in zip(named, (train, test), strict=True):
        for name, paths in files.items():
            split.setdefault(spelling.get(unicodedata.normalize("NFC", name), name), []).extend(paths)
    for folder, split, other in ((train_folder, named[0], named[1]), (test_folder, named[1], named[0])):
        if missing := set(other) - set(split):
            unmatched = set(split) - set(other)
            instead = f", but of {few(unmatched)}" if unmatched else ""
            raise UserError(f"{folder} has no images of class {few(missing)}{instead}; both folders need every class")
    return named


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones, those of systems, and caches."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name))
    return [name for name in names if not (folder / name / CACHE_TAG).exists()]


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


def check_name(folder: Path, name: str) -> None:
    """Check that a class's name is text.

    Raises:
        UserError: it has bytes that are not UTF-8.
    """
    if printable(name) != name:
        raise UserError(f"the name of the class folder {folder}/{printable(name)} is not UTF-8; rename it")


def printable(text: str) -> str:
    """Return text with a question mark for each byte that is not UTF-8."""
    return text.encode(errors="replace").decode()
