"""Write docs/simulations.md: all simulations of docs/statistics.md and docs/designs.md. Ten minutes, no training.

python -m benchmarks.simulations
"""

import io
import time
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks import designs, effects, inference

PAGE = Path(__file__).parents[1] / "docs" / "simulations.md"
HEAD = """# Simulations

`make bench-effects` draws runs with known effects, compares them with the real `effects` or with the functions behind
it, and writes this page; nothing is trained. [statistics.md](statistics.md) and [designs.md](designs.md) explain the
methods. Every simulation has a fixed seed. A rate of 0.05 has a standard error of 0.005 in 2,000 trials and of 0.0015
in 20,000, the number of trials unless stated otherwise.
"""
SECTIONS = {
    "The real `effects`": effects.print_tables,
    "Alternative methods of inference": inference.print_tables,
    "Precision and designs": designs.print_tables,
}


def main() -> None:
    """Write the page."""
    start, text = time.perf_counter(), io.StringIO()
    with redirect_stdout(text):
        print(HEAD)
        for title, print_tables in SECTIONS.items():
            print(f"## {title}\n")
            print_tables()
    PAGE.write_text(text.getvalue().rstrip() + "\n", encoding="utf-8")
    print(f"{PAGE}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
