#!/usr/bin/env bash
# Test the exercises from end to end: train them on few images, twice, write their pages from the runs, and recompute
# their tables; `make exercises-test`, weekly or by hand. Everything is in outputs/exercises-small, which is trained anew.
set -eu
PYTHON=${PYTHON:-.venv/bin/python}
OUT=outputs/exercises-small
rm -rf "$OUT"
begin=$SECONDS
SMALL=1 OUT=$OUT scripts/exercises.sh
echo "trained in $((SECONDS - begin)) s"
SMALL=1 OUT=$OUT DRY_RUN=1 scripts/exercises.sh | tee "$OUT/again.txt"
grep -q "^nothing left to run" "$OUT/again.txt" || { echo "error: a second run would train again" >&2; exit 1; }

pages=$OUT/pages
mkdir "$pages"
"$PYTHON" -m benchmarks.pages.records exercises "$OUT" --into "$pages"
"$PYTHON" -m benchmarks.pages --data "$pages" --into "$pages"
PAGES=$pages "$PYTHON" -m pytest -o addopts="" -q tests/test_exercises.py
