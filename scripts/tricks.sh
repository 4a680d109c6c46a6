#!/usr/bin/env bash
# The study of tricks: what each changes on experiment=airbench_small, and what leaving out each ingredient costs;
# `make tricks-study` runs it from the repository's root. Rerun to resume.
#   DATA     folder with train/<class>/* and test/<class>/*; empty: the original CIFAR-10, downloaded
#   OUT      folder of the runs (outputs/tricks)
#   SEEDS    0,1,2,3,4
#   WHAT     sweeps to run: small, the default: the first five below; all: leave_one_out_94 and resnet besides, for a GPU
#   DRY_RUN=1   state the cost and stop
# Each run records test_acc without and test_acc_views with the six views, so views=none needs no run of its own.
set -u
OUT=${OUT:-outputs/tricks}
DATA=${DATA:-}
source scripts/sweep.sh

SMALL_SWEEPS="leave_one_out_small one_at_a_time smoothing_mixup decay_scale airbench94"
WHAT=${WHAT:-small}
case $WHAT in
    small) WHAT=$SMALL_SWEEPS ;;
    all) WHAT="$SMALL_SWEEPS leave_one_out_94 resnet" ;;
esac
images=(data=cifar10)
if [ -n "$DATA" ]; then
    require_images
    images=(data=image_folder "data.root=$(quoted "$DATA")")
fi

# The last value of each key is the recipe's; init and init.others change together.
ingredients=(
    'sweep.zip=[[init,init.others]]' init=dirac,airbench,airbench init.others=null,default,dirac
    courses.first_bias_freezing=null,0.3 augmentation.flip=random,alternating augmentation.crop_border=null,reflect
    norm=batch,airbench architecture.fixed_scale=null,true architecture.logit_scale=null,0.1111111111111111
    optimizer.bias_lr_factor=1,64 scheduler=constant,triangle averaging=none,lookahead_rising
    loss.label_smoothing=0,0.2
)
# The first value of each key is the recipe's.
zipped=(
    '[augmentation.randaugment_ops,augmentation.randaugment_magnitude]'
    '[augmentation.brightness,augmentation.contrast,augmentation.saturation]'
    '[norm,norm.ghost_size]'
)
images_changed=(
    mixing=none,mixup,cutmix augmentation.cutout=null,8,16 augmentation.erasing=null,0.25
    augmentation.trivial_augment=null,standard
    augmentation.randaugment_ops=null,2 augmentation.randaugment_magnitude=null,9
    augmentation.brightness=null,0.2 augmentation.contrast=null,0.2 augmentation.saturation=null,0.2
    augmentation.repeats=null,2
)
changes=(
    "sweep.zip=[$(IFS=,; echo "${zipped[*]}")]" "${images_changed[@]}"
    optimizer=momentum,sam optimizer.decay_norm_and_bias=true,false optimizer.weight_decay=0.001330435,0
    averaging=lookahead_rising,ema scheduler=triangle,cosine,onecycle activation=gelu,relu,silu
    norm=airbench,ghost_batch norm.ghost_size=null,128 norm.momentum=0.4 norm.eps=1e-12
    loss=cross_entropy,binary_cross_entropy grad_clip=null,1.0 selective_backprop=null,0.5
    courses.layer_freezing=null,0.5
)
# ResNet-18 with the stem for small images, a recipe in common use, and changes that airbench has no place for.
recipe=(
    model=resnet18 optimizer=momentum optimizer.lr=0.1 optimizer.nesterov=true optimizer.weight_decay=5e-4
    scheduler=cosine scheduler.warmup_epochs=1 augmentation=flip_crop batch_size=128 epochs=20
)
resnet=(
    "sweep.zip=[${zipped[0]}]" mixing=none,mixup,cutmix augmentation.cutout=null,8,16
    augmentation.trivial_augment=null,standard
    augmentation.randaugment_ops=null,2 augmentation.randaugment_magnitude=null,9
    optimizer=momentum,sam optimizer.decay_norm_and_bias=true,false averaging=none,ema,swa
    loss.label_smoothing=0,0.1 architecture.squeeze_excitation=null,16 architecture.blur_pool=null,true
    architecture.stochastic_depth=null,0.1 architecture.zero_gamma=null,true
)

# study NAME OVERRIDE...: the sweep, if it is one of WHAT.
study() {
    if [[ " $WHAT " == *" $1 "* ]]; then
        sweep "$1" "${images[@]}" "${@:2}"
    fi
}

sweeps() {
    local seeds=seed=$SEEDS
    study leave_one_out_small experiment=airbench_small sweep.design=leave_one_out "${ingredients[@]}" "$seeds"
    study one_at_a_time experiment=airbench_small sweep.design=one_at_a_time "${changes[@]}" "$seeds"
    study smoothing_mixup experiment=airbench_small loss.label_smoothing=0,0.2 mixing=none,mixup "$seeds"
    study decay_scale experiment=airbench_small architecture.fixed_scale=null,true \
        optimizer.decay_norm_and_bias=true,false "$seeds"
    study airbench94 experiment=airbench94 data.val_size=0 seed=0,1,2
    study leave_one_out_94 experiment=airbench94 sweep.design=leave_one_out "${ingredients[@]}" "$seeds"
    study resnet "${recipe[@]}" sweep.design=one_at_a_time "${resnet[@]}" "$seeds"
}

with_cost sweeps
[ -z "${DRY_RUN:-}" ] || exit 0

for name in one_at_a_time leave_one_out_small; do
    if [[ " $WHAT " == *" $name "* ]]; then
        "$PYTHON" -m sweeper effects "$name" --output-dir "$OUT" || failed=1
    fi
done
exit $failed
