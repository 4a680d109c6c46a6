# Sourced by the other scripts: the sweep function and shared settings.
PYTHON=${PYTHON:-.venv/bin/python}
SEEDS=${SEEDS:-0,1,2,3,4}
EPOCHS=${EPOCHS:-30}
RESNET_EPOCHS=${RESNET_EPOCHS:-10}
failed=0

# quoted TEXT: as Hydra reads it, for paths with quotes, blanks or parentheses.
quoted() {
    printf "'%s'" "${1//\'/\\\'}"
}

# sweep NAME OVERRIDE...: run one sweep. If runs fail, set failed=1 and continue; on a signal or a crash, exit.
sweep() {
    local name=$1 code=0
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$PYTHON" train.py -m sweep.name="$name" output_dir="$(quoted "$OUT")" hydra/launcher=parallel "$@" || code=$?
    case $code in
        0) ;;
        1) failed=1 ;;
        *) exit "$code" ;;
    esac
}

require_images() {
    if ! test -d "$DATA/train"; then
        echo "error: DATA=$DATA has no train folder; name a folder with train/<class>/* and test/<class>/* images" >&2
        exit 1
    fi
}
