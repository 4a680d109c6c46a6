"""Print the total of the times that the last lines of plans state: python scripts/total.py FILE."""

import re
import sys
from pathlib import Path

from sweeper.sweep.durations import format_range

SECONDS = {"s": 1, "min": 60, "h": 3600}


def main() -> None:
    """Add the ranges of a file's lines."""
    low = high = 0.0
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        found = re.search(r"; (?:about ([\d.]+)|([\d.]+) to ([\d.]+)) (s|min|h)\b", line)
        if found:
            about, least, most, unit = found.groups()
            low += float(about or least) * SECONDS[unit]
            high += float(about or most) * SECONDS[unit]
    print(f"in total {format_range(low, high)}, less where sweeps share runs" if high else "nothing left to run")


if __name__ == "__main__":
    main()
