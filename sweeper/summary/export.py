"""The table as CSV, Markdown, LaTeX and JSON."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.summary.columns import HIDDEN, digits_of, is_deviation, is_number, text_cells
from sweeper.summary.output import json_text, write_output

LARGEST_WHOLE = 2.0**53  # above, not every integer is a floating-point number
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet evaluates a cell that begins with one of these


def write_files(frame: pd.DataFrame, table: pd.DataFrame, caption: str, output_dir: Path) -> None:
    """Write summary.csv, every run with every setting in full precision, and summary.md as the table is shown."""
    write_output(output_dir / "summary.csv", as_csv(frame.drop(columns=list(HIDDEN))))
    write_output(output_dir / "summary.md", as_markdown(table, caption))


def as_csv(table: pd.DataFrame) -> str:
    """Return the table in full precision, no cell a formula."""
    table = with_whole_numbers(table)
    texts = [name for name in map(str, table) if not pd.api.types.is_numeric_dtype(table[name])]
    columns = {name: table[name] for name in texts if any(map(is_formula, set(map(str, table[name].tolist()))))}
    safe = table.assign(**{name: column.map(escape_formula) for name, column in columns.items()})
    return safe.rename(columns=escape_formula).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)


def as_markdown(table: pd.DataFrame, caption: str) -> str:
    texts = text_cells(table).map(markdown_cell).rename(columns=markdown_cell)
    lines = ["| " + " | ".join(texts.columns) + " |", "|" + " --- |" * len(texts.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in texts.itertuples(index=False)]
    return "\n".join([*lines, "", *(f"{markdown_cell(line)}.  " for line in caption.splitlines()), ""])


def as_latex(table: pd.DataFrame, caption: str) -> str:
    """Return a tabular with booktabs' rules, the caption as comments above it."""
    texts = text_cells(table).map(latex_cell).rename(columns=latex_cell)
    align = "".join("r" if is_number(name) else "l" for name in text_cells(table).columns)
    rows = [" & ".join(row) + r" \\" for row in texts.itertuples(index=False)]
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", " & ".join(texts.columns) + r" \\", r"\midrule", *rows]
    return "\n".join([*(f"% {line}" for line in caption.splitlines()), *lines, r"\bottomrule", r"\end{tabular}", ""])


def as_json(table: pd.DataFrame, caption: str) -> str:
    """Return {"caption": lines, "rows": [{column: value}]}, in full precision, missing values as null."""
    return json_text(
        {"caption": caption.splitlines(), "rows": with_whole_numbers(table).astype(object).to_dict(orient="records")}
    )


def with_whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with whole numbers as such where gaps made a column's integers floating-point numbers.

    Accuracies, losses and seconds stay as they are.
    """
    columns = {}
    for name in map(str, table):
        column = table[name]
        if digits_of(name) is not None or is_deviation(name) or not pd.api.types.is_float_dtype(column):
            continue
        known = column.dropna()
        if len(known) < len(column) and len(known) and (known.abs() < LARGEST_WHOLE).all() and (known % 1 == 0).all():
            cells = [None if pd.isna(cell) else int(cell) for cell in column.tolist()]
            columns[name] = pd.Series(cells, column.index, dtype=object)
    return table.assign(**columns)


def is_formula(value: Any) -> bool:
    """Return whether a spreadsheet would evaluate a CSV cell as a formula."""
    return isinstance(value, str) and value.startswith(FORMULA_STARTS)


def escape_formula(value: Any) -> Any:
    """Return a CSV cell that no spreadsheet evaluates as a formula."""
    return f"'{value}" if is_formula(value) else value


def markdown_cell(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def latex_cell(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "<": "$<$",
        ">": "$>$",
        "|": r"\textbar{}",
        "\n": " ",
    }
    cell = "".join(
        special.get(character, f"\\{character}" if character in "&%$#_{}" else character) for character in text
    )
    return f"{{{cell[0]}}}{cell[1:]}" if cell.startswith(("[", "*")) else cell  # else an argument of the rule before it


FORMATS: dict[str, Callable[[pd.DataFrame, str], str]] = {
    "csv": lambda table, _: as_csv(table),
    "md": as_markdown,
    "latex": as_latex,
    "json": as_json,
}
