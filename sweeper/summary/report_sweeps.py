"""The report's index: the sweeps of the output folder, with links to their own reports and curves."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from sweeper.errors import UserError
from sweeper.summary.report_question import format_time
from sweeper.sweep.listing import read_sweeps

REPORT = "report.html"
MAX_SWEEPS = 200


def sweep_list(output_dir: Path) -> list[dict[str, Any]]:
    """Return the sweeps, the latest first, with the addresses of the files that they have."""
    try:
        sweeps = read_sweeps(output_dir)
    except UserError:  # there are none
        return []
    found = []
    for sweep in sweeps[:MAX_SWEEPS]:
        folder = output_dir / "sweeps" / sweep.name
        links = [
            (title, "/".join(["sweeps", quote(sweep.name, safe=""), name]))
            for title, name in (("report", REPORT), ("curves", "curves/curves.svg"))
            if (folder / name).is_file()
        ]
        created = format_time(sweep.created)
        found.append(
            {"name": sweep.name, "started": created or "-", "runs": sweep.runs, "state": sweep.state, "links": links}
        )
    return found
