"""Folders of images: what is read, what is passed over with a word, what is refused with a remedy."""

import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from folders import make, make_two_classes, names_of

from sweeper.data import image_scan
from sweeper.data.image_folders import list_images
from sweeper.data.image_scan import Scan
from sweeper.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_two_classes(tmp_path / "imgs")


def test_an_ordinary_folder_is_listed_by_name_and_without_a_word(root: Path, warned: Callable[[], str]) -> None:
    listing = list_images(root)
    assert listing.classes == ["ant", "bee"]
    train = ["train/ant/0.png", "train/ant/1.png", "train/bee/0.png", "train/bee/1.png"]
    assert names_of(listing, root) == (train, ["test/ant/0.png", "test/bee/0.png"])
    assert warned() == ""


def test_images_below_a_class_folder_are_read(root: Path, warned: Callable[[], str]) -> None:
    make(root, "train/ant/day2/7.png", "train/ant/day2/morning/8.jpg")
    train, _ = names_of(list_images(root), root)
    assert train[:4] == [f"train/ant/{name}" for name in ("0.png", "1.png", "day2/7.png", "day2/morning/8.jpg")]
    shutil.rmtree(root / "train/ant/day2/morning")
    (root / "train/ant/0.png").unlink()
    (root / "train/ant/1.png").unlink()
    assert names_of(list_images(root), root)[0][0] == "train/ant/day2/7.png"
    assert warned() == ""


@pytest.mark.parametrize("suffix", ["jfif", "JPE", "avif", "JP2", "tga", "dib", "apng", "pnm", "JPEG", "Webp"])
def test_every_common_suffix_is_read(root: Path, suffix: str) -> None:
    make(root, f"train/bee/x.{suffix}")
    assert f"train/bee/x.{suffix}" in names_of(list_images(root), root)[0]


def test_other_files_are_counted_by_kind_once(root: Path, warned: Callable[[], str]) -> None:
    make(root, "train/ant/0.txt", "train/ant/1.TXT", "train/ant/deep/x.txt", "train/ant/hash", "train/bee/IMG.HEIC")
    make(root, "test/bee/photo.JPG.1", "train/stray.png", "README.md", "train/labels.csv", "extra/ant/0.png")
    (root / "train/bee/gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "train/bee/pipe.png")
    list_images(root)
    head, _, kinds = warned().partition("passed over: .txt files (3), ")  # most first
    assert head == f"data.root={root}: "
    assert set(kinds.split(", ")) == {
        "images outside of class folders (1)",
        "files without a suffix (1)",
        ".heic files (1)",
        ".jpg.1 files (1)",
        "broken links (1)",
        "special files (1)",
        "folders beside the splits (1)",
    }
    list_images(root)
    assert warned() == ""


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", ".ipynb_checkpoints", "__MACOSX", ".Trash-1000", "lost+found", "System Volume Information"],
)
@pytest.mark.parametrize("place", ["train", "test", "train/ant", "."])
def test_folders_of_systems_are_passed_over(root: Path, place: str, name: str, warned: Callable[[], str]) -> None:
    before = names_of(list_images(root), root)
    make(root, f"{place}/{name}/0.png", f"{place}/{name}/sub/1.png")
    listing = list_images(root)
    assert (listing.classes, names_of(listing, root)) == (["ant", "bee"], before)
    assert warned() == ""


def test_a_folder_named_like_an_image_is_a_folder(root: Path) -> None:
    make(root, "train/ant/2.png/inner.png")
    (root / "train/bee/empty.jpg").mkdir()
    train, _ = names_of(list_images(root), root)
    assert "train/ant/2.png/inner.png" in train
    assert len(train) == 5


def test_links_are_followed_but_not_in_a_circle(root: Path, tmp_path: Path, warned: Callable[[], str]) -> None:
    make(tmp_path / "elsewhere", "x.png")
    (root / "train/ant/more").symlink_to(tmp_path / "elsewhere")
    (root / "train/ant/again").symlink_to(root / "train/ant")
    (root / "test/cat").symlink_to(tmp_path / "elsewhere")
    (root / "train/cat").symlink_to(tmp_path / "elsewhere")
    listing = list_images(root)
    assert listing.classes == ["ant", "bee", "cat"]
    assert [Path(path).name for path in listing.train["ant"]] == ["0.png", "1.png", "x.png"]
    assert warned().endswith("passed over: links to a folder above (1)")


COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")


@pytest.mark.parametrize(("train", "test"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (DECOMPOSED, DECOMPOSED)])
def test_a_name_of_composed_and_of_decomposed_letters_is_one_class(root: Path, train: str, test: str) -> None:
    make(root, f"train/{train}/0.png", f"test/{test}/0.png")
    assert list_images(root).classes == ["ant", "bee", train]  # as it is spelled in train/


def test_both_forms_of_a_name_in_a_split_are_one_class(root: Path) -> None:
    make(root, f"train/{COMPOSED}/0.png", f"train/{DECOMPOSED}/1.png", f"test/{COMPOSED}/0.png")
    listing = list_images(root)
    assert listing.classes == ["ant", "bee", DECOMPOSED]  # the first of the two
    assert len(listing.train[DECOMPOSED]) == 2


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("TRAINING", "test")])
def test_splits_have_other_usual_names(root: Path, names: tuple[str, str]) -> None:
    expected = [[name.partition("/")[2] for name in split] for split in names_of(list_images(root), root)]
    (root / "train").rename(root / "x")
    (root / "test").rename(root / "y")
    (root / "x").rename(root / names[0])
    (root / "y").rename(root / names[1])
    found = [[name.partition("/")[2] for name in split] for split in names_of(list_images(root), root)]
    assert found == expected


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_validation_images_of_a_folder_are_used_passed_over_or_test_images(
    root: Path, name: str, warned: Callable[[], str]
) -> None:
    before, start = list_images(root), f"data.root={root}: "
    shutil.copytree(root / "test", root / name)
    val = {label: [str(root / name / label / "0.png")] for label in ("ant", "bee")}
    listing = list_images(root)
    assert listing == replace(before, val=val, key=listing.key) and listing.key != before.key
    used = f"the images of {name}/ are the validation images; data.val_size=N passes them over"
    assert warned() == start + used
    for size in (0, 3):
        assert list_images(root, val_size=size) == before
        assert warned() == (
            f"{start}{name}/ is passed over, since data.val_size={size}; null uses its images for validation"
        )
    shutil.rmtree(root / "test")
    assert names_of(list_images(root), root)[1] == [f"{name}/ant/0.png", f"{name}/bee/0.png"]
    assert warned() == f"{start}no test/: testing on the images of {name}/"
    held = list_images(root, test_size=2)
    assert held.val == val and [len(paths) for paths in (*held.train.values(), *held.test.values())] == [1] * 4
    assert warned() == f"{start}no test/: testing on 2 random images of train/; {used}"


def test_validation_images_need_class_folders(root: Path, warned: Callable[[], str]) -> None:
    make(root, "val/0.png")
    assert list_images(root).val == {}
    assert warned() == f"data.root={root}: val/ is passed over, since it has no class folders"
    make(root, "val/ant/0.png")
    with pytest.raises(UserError, match=r"imgs/val has no images of class bee; both folders need every class"):
        list_images(root)


REFUSED = {  # what is removed, what is made, the sentence
    "no folder": (["."], [], r"data\.root=\S*imgs: folder not found; expected train/<class>/\*"),
    "an empty folder": (["train", "test"], [], r"imgs contains no class folders; expected train/<class>/\*"),
    "images alone": (["train", "test"], ["0.jpg"], r"imgs contains 1 image and no class folders; expected"),
    "test only": (["train"], [], r"folder \S*imgs/train not found; expected"),
    "a class of other files": (
        [],
        ["train/cat/a.heic", "train/cat/b.heic"],
        r"train/cat contains no images \(.*\.png.*\), but \.heic files \(2\); expected",
    ),
    "a flat split": (
        ["test"],
        ["val/0.JPEG", "val/1.JPEG"],
        r"imgs/val contains 2 images and no class folders; expected",
    ),
    "another class": (
        ["test/bee"],
        ["test/Bee/0.png"],
        r"imgs/train has no images of class Bee, but of bee; both folders need every class",
    ),
    "classes of images": (
        ["test"],
        ["test/images/0.png"],
        r"imgs/train has no images of class images, but of ant, bee; both folders need every class",
    ),
    "many classes": (
        [],
        [f"train/{number:03}/0.png" for number in range(200)],
        r"imgs/test has no images of class 000, 001, 002, 003, 004 and 195 more; both",
    ),
    "splits of other names": (
        ["train", "test"],
        ["training_set/ant/0.png", "test_set/ant/0.png"],
        r"data\.root=\S*imgs look like splits \(test_set, training_set\); name them train/ and test/",
    ),
    "one class": (
        ["train/bee", "test/bee"],
        [],
        r"imgs/train has images of one class, ant; training needs at least two classes",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_folder_that_cannot_be_meant_is_refused_with_a_remedy(root: Path, kind: str) -> None:
    removed, made, sentence = REFUSED[kind]
    for name in removed:
        shutil.rmtree(root / name)
    make(root, *made)
    with pytest.raises(UserError, match=sentence):
        list_images(root)


def test_a_class_may_be_named_like_a_split(tmp_path: Path) -> None:
    root = make(tmp_path / "imgs", *(f"{name}/{number}.png" for name in ("bus", "train") for number in (0, 1)))
    assert list_images(root).classes == ["bus", "train"]


def test_test_images_without_classes_are_no_test_images(root: Path, warned: Callable[[], str]) -> None:
    (root / "test").rename(root / "val")
    make(root, "test/0.png", "test/1.png")
    assert names_of(list_images(root), root)[1] == ["val/ant/0.png", "val/bee/0.png"]
    assert warned() == f"data.root={root}: no class folders in test/: testing on the images of val/"
    shutil.rmtree(root / "val")
    with pytest.raises(UserError, match="test contains 2 images and no class folders"):
        list_images(root)
    assert len(names_of(list_images(root / "train"), root)[1]) == 2  # one of each class


def test_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=\S*imgs\.zip: is not a folder; unpack it"):
        list_images(make(tmp_path, "imgs.zip") / "imgs.zip")


def test_a_class_whose_name_is_no_text_is_refused(root: Path) -> None:
    (root / "train" / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(UserError, match=r"class folder \S*train/caf\? is not UTF-8; rename it"):
        list_images(root)


def test_a_class_has_its_name_in_every_locale(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, "train/größe/0.png")
    in_ascii = "größe".encode().decode("ascii", "surrogateescape")  # with LC_ALL=C
    monkeypatch.setattr(image_scan, "subfolders", lambda folder: [in_ascii])
    assert list(Scan().classes(root / "train", "train")) == ["größe"]


def test_a_folder_below_the_right_one_is_refused_with_its_name(root: Path) -> None:
    with pytest.raises(UserError, match=r"train is one split; choose the folder above it, data\.root=\S*/imgs$"):
        list_images(root / "train")


def test_a_folder_above_the_right_one_is_refused_with_its_name(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no train/, but imgs/ has; choose data\.root=\S*/imgs"):
        list_images(tmp_path)
    shutil.rmtree(root / "test")
    shutil.move(root / "train", tmp_path / "flowers" / "images")
    shutil.rmtree(root)
    with pytest.raises(UserError, match=r"has one class folder, images; choose data\.root=\S*/flowers/images"):
        list_images(tmp_path / "flowers")


def test_a_class_of_one_image_cannot_be_split(tmp_path: Path) -> None:
    root = make(tmp_path / "imgs", "ant/0.png", "ant/1.png", "bee/0.png")
    with pytest.raises(UserError, match=r"imgs/bee has one image; a class needs two"):
        list_images(root)


def test_a_folder_that_cannot_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"data\.root=\S*imgs cannot be read: .*Permission denied"):
        list_images(root)


@pytest.mark.parametrize("record", ["outputs/runs/mlp-1/status.json", "runs/mlp-1/status.json", "sweeps/a/sweep.json"])
def test_the_outputs_beside_class_folders_are_no_class(tmp_path: Path, record: str) -> None:
    root = make(tmp_path, "ant/0.png", "ant/1.png", "bee/0.png", "bee/1.png")
    make(root, record, str(Path(record).with_name("curves.png")))
    assert list_images(root).classes == ["ant", "bee"]


def test_classes_named_like_outputs_are_classes(tmp_path: Path) -> None:
    names = [f"{name}/{number}.png" for name in ("runs", "sweeps", "outputs/runs") for number in (0, 1)]
    assert list_images(make(tmp_path, *names)).classes == ["outputs", "runs", "sweeps"]


def test_only_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    for name, hint in (("a.zip", "is not a folder; unpack it; expected"), ("a.yaml", "is not a folder; expected")):
        with pytest.raises(UserError, match=hint):
            list_images(make(tmp_path, name) / name)


def test_other_content_of_the_same_size_and_time_changes_the_key(root: Path) -> None:
    image = root / "train/ant/0.png"
    image.write_bytes(b"old")
    os.utime(image, ns=(0, 0))
    before = list_images(root).key
    assert list_images(root).key == before
    image.write_bytes(b"new")
    os.utime(image, ns=(0, 0))
    assert list_images(root).key != before
