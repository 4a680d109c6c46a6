#!/usr/bin/env bash
# Train the exercises and print the results; `make exercises` runs it from the repository's root.
#   DATA            folder with train/<class>/* and test/<class>/*; empty: the original CIFAR-10, downloaded
#   OUT             folder of the runs (outputs/exercises)
#   SEEDS, EPOCHS   of the small networks (0,1,2,3,4 and 30); RESNET_EPOCHS: of ResNet-18, one seed (10)
set -u
OUT=${OUT:-outputs/exercises}
DATA=${DATA:-}
source scripts/sweep.sh

images=(data=cifar10)
if [ -n "$DATA" ]; then
    require_images
    images=(data=image_folder "data.root=$(quoted "$DATA")")
fi
small=("${images[@]}" seed="$SEEDS" epochs="$EPOCHS")
resnet=("${images[@]}" epochs="$RESNET_EPOCHS" hydra.launcher.n_jobs=1)

sweep models experiment=p1_softmax,p2_mlp,p3_deep_mlp,p4_cnn,p5_cnn_pool "${small[@]}"
sweep softmax_lr experiment=p1_softmax optimizer.lr=0.0003,0.001,0.003,0.01 "${small[@]}"
sweep batch_norm experiment=o7_batch_norm "${small[@]}"
sweep dropout experiment=p6_dropout "${small[@]}"
sweep activations experiment=o8_activations "${small[@]}"
sweep scratch experiment=p8_resnet18_scratch "${resnet[@]}"
sweep finetuned experiment=p7_resnet18_finetune "${resnet[@]}"

for name in batch_norm dropout activations; do
    echo
    "$PYTHON" -m sweeper effects "$name" --output-dir "$OUT" || failed=1
done
for reader in summary curves report; do
    "$PYTHON" -m sweeper "$reader" --output-dir "$OUT" || failed=1
done
exit $failed
