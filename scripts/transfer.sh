#!/usr/bin/env bash
# Train a ResNet-18 on half of the classes, fine-tune it to the other half with 50 images each, and train that half from
# scratch as well; `make transfer DATA=FOLDER` runs it from the repository's root.
#   DATA            folder with train/<class>/* and test/<class>/*
#   OUT             folder of the runs (outputs/transfer)
#   RESNET_EPOCHS   of the first half, one seed (10); SEEDS, EPOCHS: of the second half (0,1,2,3,4 and 30)
set -u
OUT=${OUT:-outputs/transfer}
DATA=${DATA:-}
source scripts/sweep.sh

require_images
"$PYTHON" benchmarks/halves.py "$DATA" "$OUT/halves" 50 || exit 1
resnet=(experiment=p8_resnet18_scratch data=image_folder)

sweep first_half "${resnet[@]}" "data.root=$(quoted "$OUT/halves/first")" epochs="$RESNET_EPOCHS" hydra.launcher.n_jobs=1
[ $failed -eq 0 ] || exit $failed

run=$("$PYTHON" -m sweeper summary first_half --group-by none --columns run_id --format csv --output-dir "$OUT" |
    tail -1 | tr -d '"')
[ -n "$run" ] || exit 1

sweep transfer "${resnet[@]}" "data.root=$(quoted "$OUT/halves/second")" data.val_size=50 epochs="$EPOCHS" seed="$SEEDS" \
    model.freeze_backbone=false,true "model.weights=null,$(quoted "$OUT/runs/$run/checkpoints/best.pt")" \
    'sweep.exclude=[{model.weights:null,model.freeze_backbone:true}]'
exit $failed
