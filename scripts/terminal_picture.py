"""Draw what a recorded sweep prints at its end as a picture of a terminal: python scripts/terminal_picture.py SWEEP.

    python train.py -m data=digits model=cnn_pool norm=none,batch dropout=none,light seed=0,1,2,3,4,5,6,7,8,9 epochs=5 \
        hydra/launcher=parallel sweep.name=norm_and_dropout
    python scripts/terminal_picture.py norm_and_dropout
"""

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeper.summary.conclusion import print_conclusion
from sweeper.sweep.saved import find_sweep, ids_of, read_plan

WIDTH, HEIGHT = 96, 60  # of the terminal, in characters
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # which would be fetched from the network
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "terminal.svg"


def in_terminal(output_dir: Path, sweep: str) -> str:
    """Return what a terminal gets at the end of a sweep, its colors included."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        os.environ.update(TERM="xterm-256color", COLUMNS=str(WIDTH))
        print_conclusion(output_dir, ids_of(output_dir, sweep) or set(), sweep)
        sys.stdout.flush()
        os._exit(0)
    content = io.BytesIO()
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the child has ended
            break
        content.write(part)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise SystemExit(content.getvalue().decode(errors="replace"))
    return content.getvalue().decode().replace("\r\n", "\n")


def main(sweep: str, output_dir: str = "outputs") -> None:
    """Write the picture."""
    _, _, *arguments = shlex.split(read_plan(find_sweep(Path(output_dir), sweep))["command"])
    command = shlex.join(["python", "train.py", *(text for text in arguments if text != f"sweep.name={sweep}")])
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(in_terminal(Path(output_dir), sweep)))
    PICTURE.write_text(FONTS.sub("", console.export_svg(title="sweeper")), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main(*sys.argv[1:])
