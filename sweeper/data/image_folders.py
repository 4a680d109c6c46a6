"""Folders of images: which folder holds which split, and which images are held out of others."""

import logging
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sweeper.data.image_scan import LAYOUT, Files, Scan, describe, few, printable, subfolders
from sweeper.data.split import shares
from sweeper.errors import UserError, warn_once

log = logging.getLogger(__name__)

TRAIN, TEST, VAL = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
TEST_SHARE = 5  # one image in five is a test image where the folder does not say which


@dataclass
class Listing:
    """The images of a dataset.

    Attributes:
        train, test, val: paths by class; val is empty where validation images are held out of train.
        key: digest of names, sizes and times (of change as well: copying may preserve the other); it changes when the
            files do.
    """

    classes: list[str]
    train: Files
    test: Files
    key: str
    val: Files = field(default_factory=dict)


def list_images(root: Path, *, test_size: float | None = None, val_size: int | None = None) -> Listing:
    """List the images of root/train/<class>/, root/test/<class>/ and root/val/<class>/, or of root/<class>/.

    Where test/ is missing, the images of val/ are the test images, or some that are held out, always the same. What is
    done and what is passed over is reported, once in a process.

    Args:
        test_size: images that are held out as test images: a number, or a fraction below 1, with each class's share;
            None: the images of val/, or a fifth of each class.
        val_size: None uses the images of val/ for validation; else they are passed over.

    Raises:
        UserError: a folder is missing, empty or unreadable, the classes of the splits differ, there is only one, or
            `test_size` has no effect or is too large or small.
    """
    try:
        return listed(root, test_size, val_size)
    except OSError as error:
        raise UserError(f"data.root={root} cannot be read: {error}") from error


def listed(root: Path, test_size: float | None, val_size: int | None) -> Listing:
    scan = Scan()
    notes: list[str] = []
    val_files: Files = {}
    if not root.is_dir():
        is_packed = root.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
        unpack = f"is not a folder{'; unpack it' if is_packed else ''}" if root.exists() else "folder not found"
        raise UserError(f"data.root={root}: {unpack}; {LAYOUT}")
    found = [first_of(root, names) for names in (TRAIN, TEST, VAL)]
    train, test, val = found
    if not any(found) or is_class(root, *filter(None, found)):
        check_unsplit(root)
        splits, drawn = held_out(root, scan.classes(root, "all"), test_size)
        notes.append(f"no train/ and test/: testing on {drawn}")
        train = root
    elif train is None:
        raise UserError(f"data.root={root}: folder {root / 'train'} not found; {LAYOUT}")
    else:
        scan.passed["folders beside the splits"] += len({root / name for name in subfolders(root)} - {*found})
        files = scan.classes(train, "train")
        test, val, missing = choose_test(test, val, test_size)
        if test is None:
            splits, drawn = held_out(train, files, test_size)
            notes.append(f"{missing}: testing on {drawn} of {train.name}/")
        else:
            splits = same_names(train, test, files, scan.classes(test, "test"))
            notes += [f"{missing}: testing on the images of {test.name}/"] if missing else []
        if val is not None and (reason := not_used(val, val_size)):
            notes.append(f"{val.name}/ is passed over, since {reason}")
        elif val is not None:
            _, val_files = same_names(train, val, files, scan.classes(val, "val"))
            notes.append(f"the images of {val.name}/ are the validation images; data.val_size=N passes them over")
    classes = sorted(splits[0])
    if len(classes) == 1:
        raise UserError(f"{train} has images of one class, {classes[0]}; training needs at least two classes")
    if text := describe(scan.passed):
        notes.append(f"passed over: {text}")
    if notes:
        warn_once(log, f"data.root={printable(str(root))}: {'; '.join(notes)}")
    return Listing(classes, *splits, scan.digest.hexdigest(), val_files)


def choose_test(test: Path | None, val: Path | None, test_size: float | None) -> tuple[Path | None, Path | None, str]:
    """Return the folders of the test images and of the validation images, and why the first is not test/.

    Without class folders in test/, val/ has the test images, unless test images are held out.

    Raises:
        UserError: `test_size` is given where there are test images.
    """
    if test is not None and (val is None or subfolders(test)):
        if test_size is not None:
            raise UserError(f"data.test_size={test_size:g} has no effect, since {test} exists; choose null")
        return test, val, ""
    missing = "no test/" if test is None else f"no class folders in {test.name}/"
    return (val, None, missing) if test_size is None else (None, val, missing)


def not_used(val: Path, val_size: int | None) -> str:
    """Return why the images of val/ are not used for validation; nothing where they are."""
    if val_size is not None:
        return f"data.val_size={val_size}; null uses its images for validation"
    return "" if subfolders(val) else "it has no class folders"


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


def held_out(root: Path, files: Files, test_size: float | None) -> tuple[tuple[Files, Files], str]:
    """Draw test images of each class, always the same.

    Args:
        test_size: see `list_images`.

    Returns:
        The images of both splits, and what was drawn.

    Raises:
        UserError: a class would have no test images, or no others.
    """
    train: Files = {}
    test: Files = {}
    counts = np.array([len(paths) for paths in files.values()])
    share, quotas = "a random fifth of each class", np.maximum(1, counts // TEST_SHARE)
    if test_size is not None:
        number = round(test_size * counts.sum()) if test_size < 1 else int(test_size)
        share, quotas = f"{number:,} random images", shares(counts, min(number, int(counts.sum())))
    generator = np.random.Generator(np.random.PCG64(0))
    for (name, paths), quota in zip(files.items(), quotas.tolist(), strict=True):
        if test_size is None and len(paths) < 2:
            raise UserError(f"{root / name} has one image; a class needs two, since one in five becomes a test image")
        if not 0 < quota < len(paths):
            raise UserError(
                f"data.test_size={test_size:g} takes {quota} of the {len(paths):,} images of {root / name}; a class "
                "needs test images and others"
            )
        drawn = set(generator.permutation(len(paths))[:quota].tolist())
        test[name] = [path for index, path in enumerate(paths) if index in drawn]
        train[name] = [path for index, path in enumerate(paths) if index not in drawn]
    return (train, test), share


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
