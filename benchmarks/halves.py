"""Two image folders of symbolic links: half of the classes of an image folder, and the other half with few images each.

python benchmarks/halves.py FOLDER INTO IMAGES    make INTO/first and INTO/second; both have all test images of theirs
"""

import shutil
import sys
from pathlib import Path


def link(files: list[Path], folder: Path) -> None:
    """Create a folder of links to these files."""
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())


def main() -> None:
    """Make both folders."""
    root, into, images = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    classes = sorted(path.name for path in root.glob("train/*/"))
    if len(classes) < 4:
        sys.exit(f"{root}/train has {len(classes)} class folders; at least 4 are needed")
    for half in ("first", "second"):
        shutil.rmtree(into / half, ignore_errors=True)
    for index, name in enumerate(classes):
        half, some = ("first", None) if index < len(classes) // 2 else ("second", images)
        link(sorted((root / "train" / name).iterdir())[:some], into / half / "train" / name)
        link(sorted((root / "test" / name).iterdir()), into / half / "test" / name)


if __name__ == "__main__":
    main()
