# Sourced by the other scripts: sweeps with their cost, and shared settings.
#   EXTRA   more overrides of every sweep, such as "hydra.launcher.runs_per_gpu=4"
PYTHON=${PYTHON:-.venv/bin/python}
SEEDS=${SEEDS:-0,1,2,3,4}
EPOCHS=${EPOCHS:-30}
RESNET_EPOCHS=${RESNET_EPOCHS:-10}
DATA=${DATA/#\~\//$HOME/} OUT=${OUT/#\~\//$HOME/} WEIGHTS=${WEIGHTS:-}
WEIGHTS=${WEIGHTS/#\~\//$HOME/}  # not every shell replaces the ~ of `make exercises DATA=~/FOLDER`
read -r -a extra <<< "${EXTRA:-}"
failed=0
planning=""   # a file, while sweeps are planned and not run
left_out=" "  # names of optional sweeps that cannot run

# quoted TEXT: as Hydra reads it, for paths with quotes, blanks or parentheses. A quote needs a backslash, and so do the
# backslashes before a quote.
quoted() {
    printf "'%s'" "$(sed -E "s/(\\\\*)'/\\1\\1\\\\'/g; s/(\\\\+)\$/\\1\\1/" <<< "$1")"
}

# sweep NAME OVERRIDE...: run one sweep. If runs fail, set failed=1 and continue; on a signal or a crash, exit.
sweep() {
    local name=$1 code=0
    shift
    if [ -n "$planning" ]; then
        plan "$name" "$@" || exit 1
        return
    fi
    printf '\n== %s: %s\n' "$name" "$*"
    "$PYTHON" train.py -m sweep.name="$name" output_dir="$(quoted "$OUT")" hydra/launcher=parallel "$@" "${extra[@]}" || code=$?
    case $code in
        0) ;;
        1) failed=1 ;;
        *) exit "$code" ;;
    esac
}

# optional NAME OVERRIDE...: as sweep; a sweep that cannot be planned, since it needs a file, is left out.
optional() {
    if [ -n "$planning" ]; then
        plan "$@" || left_out+="$1 "
    elif [[ $left_out != *" $1 "* ]]; then
        sweep "$@"
    fi
}

# plan NAME OVERRIDE...: print what a sweep has to run and its estimated time, or why it cannot run.
plan() {
    local name=$1 output code=0
    shift
    output=$("$PYTHON" train.py -m sweep.name="$name" output_dir="$(quoted "$OUT")" hydra/launcher=parallel "$@" "${extra[@]}" \
        sweep.dry_run=true 2>&1) || code=$?
    [ $code -le 2 ] || exit "$code" # a signal
    if [ $code -ne 0 ]; then
        printf '%s\n' "$name: $(grep -m 1 '^error:' <<< "$output" || tail -n 1 <<< "$output")"
        return 1
    fi
    printf '%s\n' "$name: $(grep -E '^[0-9]+ combinations?: ' <<< "$output")" | tee -a "$planning"
}

# with_cost FUNCTION: state what the sweeps of a function cost, then run them.
with_cost() {
    planning=$(mktemp)
    echo "Runs, and the time that they are expected to take; nothing is trained yet:"
    "$1"
    PYTHONPATH=. "$PYTHON" scripts/total.py "$planning" || exit 1
    rm -f "$planning"
    planning=""
    [ -n "${DRY_RUN:-}" ] || "$1"
}

require_images() {
    if ! test -d "$DATA/train"; then
        echo "error: DATA=$DATA has no train folder; name a folder with train/<class>/* and test/<class>/* images" >&2
        exit 1
    fi
}
