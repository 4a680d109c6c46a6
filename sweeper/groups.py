"""The settings of each group: a dataclass per group, every setting with its unit, meaning and valid range.

A group's dataclass holds the settings of all its choices; what a choice uses is declared by the signature of the
function that builds it, and a setting that the choice does not use stays None (sweeper.choice checks this).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sweeper.ranges import (
    Check,
    above,
    above_up_to,
    at_least,
    between,
    from_up_to,
    inside,
    is_class_weight,
    is_sha256,
    one_of,
    setting,
)

MEAN = Check("from 0 to 1, since pixels are (divide by 255)", lambda value: 0 <= value <= 1)
STD = Check("above 0 and at most 1, since pixels are from 0 to 1 (divide by 255)", lambda value: 0 < value <= 1)


@dataclass
class DataConfig:
    """The images, how they are scaled and which of them are held out."""

    name: str = setting("dataset reader", "")
    root: str | None = setting("folder with the images or the archive")
    cache: str | None = setting("folder for decoded images, shared by all runs")
    url: str | None = setting("URL of the archive, or of the folder with the dataset's files; may be a mirror's")
    sha256: Any = setting(
        "expected SHA-256 of the archive, or a list with that of each file",
        check=Check("64 hexadecimal digits in lower case", is_sha256),
    )
    image_size: int | None = setting("side length in pixels that images are resized to", check=at_least(1))
    channels: int | None = setting("3 for color, 1 for gray", check=Check("1 or 3", lambda value: value in (1, 3)))
    resize: str | None = setting(
        "squeeze: change the aspect ratio; crop: to the central square; pad: with black borders",
        check=one_of("squeeze", "crop", "pad"),
    )
    value_range: list[float] | None = setting(
        "values that become black and white in gray images of more than 8 bits; null: 0 and 65535"
    )
    scenes: int | None = setting("number of scenes, without the 300 test scenes", check=at_least(2))
    test_size: float | None = setting(
        "test images held out where the folder has no test/: a number, or a fraction below 1; null: a fifth",
        check=Check(
            "a whole number of at least 1, or a fraction above 0 and below 1",
            lambda value: 0 < value < 1 or (value >= 1 and value % 1 == 0),
        ),
    )
    val_size: int | None = setting(
        "images held out for validation; null: the folder's val/, or a tenth; 0: test images", check=at_least(0)
    )
    train_size: int | None = setting("training images that are used; null: all", check=at_least(2))
    mean: list[float] | None = setting("mean per channel, subtracted from pixels in [0, 1]", check=MEAN)
    std: list[float] | None = setting("standard deviation per channel, by which they are then divided", check=STD)


@dataclass
class TaskConfig:
    """What is learned about an image."""

    name: str = setting("what is predicted: a class for each image, or for each pixel", "classification")
    ignore_index: int | None = setting(
        "value of masks whose pixels do not count in losses and metrics, beside 255", check=between(0, 255)
    )


@dataclass
class ModelConfig:
    """The network without its slots."""

    name: str = setting("architecture", "")
    hidden: list[int] | None = setting("units of each hidden layer", check=at_least(1))
    channels: list[int] | None = setting("filters of each convolution", check=at_least(1))
    widths: list[int] | None = setting(
        "filters of each group of convolutions (unet: at each resolution)", check=at_least(1)
    )
    kernel_size: int | None = setting("height and width of the filters, in pixels", check=at_least(1))
    arch: str | None = setting("name of a network of torchvision or timm")
    library: str | None = setting("library of model.arch: torchvision or timm", check=one_of("torchvision", "timm"))
    weights: str | None = setting(
        "initial weights: null (from scratch), imagenet (resnet18), pretrained (torchvision, timm), or a file such as "
        "another run's best.pt"
    )
    stem: str | None = setting(
        "imagenet: 7x7, stride 2, max pooling; cifar: 3x3, stride 1", check=one_of("imagenet", "cifar")
    )
    freeze_backbone: bool | None = setting("train the last layer only")


@dataclass
class OptimizerConfig:
    """The update rule."""

    name: str = setting("update rule", "")
    lr: float | None = setting("peak learning rate", check=above(0))
    momentum: float | None = setting("momentum coefficient", check=from_up_to(0, 1))
    nesterov: bool | None = setting("use Nesterov momentum")
    betas: list[float] | None = setting("decay rates of the two moment estimates", check=from_up_to(0, 1))
    alpha: float | None = setting("decay rate of the running mean of squared gradients", check=from_up_to(0, 1))
    weight_decay: float | None = setting("L2 penalty (adamw, lion, muon: decoupled decay)", check=at_least(0))
    ns_steps: int | None = setting("Newton-Schulz steps that orthogonalize an update", check=at_least(1))
    aux: str | None = setting(
        "optimizer of all parameters but hidden matrices: adamw or sgd", check=one_of("adamw", "sgd")
    )
    aux_lr: float | None = setting("peak learning rate of the auxiliary optimizer", check=above(0))
    aux_momentum: float | None = setting("momentum coefficient of the auxiliary optimizer", check=from_up_to(0, 1))
    bias_lr: float | None = setting("peak learning rate of biases and norms", check=above(0))
    base: str | None = setting(
        "optimizer that sam wraps: sgd, momentum, adam, adamw", check=one_of("sgd", "momentum", "adam", "adamw")
    )
    rho: float | None = setting("radius of the neighborhood whose worst loss is minimized", check=above(0))
    adaptive: bool | None = setting("scale the neighborhood of each weight by its size (ASAM)")
    interval: int | None = setting("take a sharpness-aware step every so many steps", check=at_least(1))
    decay_norm_and_bias: bool | None = setting("whether norms, biases, tokens and positions have weight decay")
    bias_lr_factor: float | None = setting("learning-rate factor of biases", check=above(0))
    layer_decay: float | None = setting(
        "learning-rate factor from each layer to the previous one, starting at the last", check=above_up_to(0, 1)
    )


@dataclass
class SchedulerConfig:
    """The learning-rate schedule, as factors of optimizer.lr."""

    name: str = setting("learning-rate schedule", "")
    warmup_epochs: float | None = setting("epochs of linear warm-up", check=at_least(0))
    step_size: int | None = setting("epochs between decays", check=at_least(1))
    milestones: list[int] | None = setting("epochs after which the LR decays", check=at_least(1))
    gamma: float | None = setting("LR factor of each decay (exponential: of each epoch)", check=above_up_to(0, 1))
    min_factor: float | None = setting("minimum LR as a fraction of the peak", check=between(0, 1))
    pct_start: float | None = setting("fraction of training spent increasing the LR", check=between(0, 1))
    div_factor: float | None = setting("peak LR / initial LR", check=at_least(1))
    final_div_factor: float | None = setting("initial LR / final LR", check=at_least(1))
    min_momentum: float | None = setting(
        "momentum at the peak LR; null: constant momentum",
        check=Check("above 0 and below 1", lambda value: 0 < value < 1),
    )
    factor: float | None = setting("LR factor of each reduction", check=above_up_to(0, 1))
    patience: int | None = setting(
        "epochs without improvement of the selected metric before a reduction", check=at_least(0)
    )
    decay_fraction: float | None = setting("fraction of training spent in the final decay", check=between(0, 1))
    power: float | None = setting("exponent of the decay", check=above(0))
    first_cycle: float | None = setting("length of the first cosine cycle, in epochs", check=above(0))
    cycle_factor: int | None = setting("length of each cycle / length of the previous one", check=at_least(1))
    start_factor: float | None = setting("initial LR as a fraction of the peak", check=between(0, 1))


@dataclass
class ActivationConfig:
    """The nonlinearity of hidden layers."""

    name: str = setting("nonlinearity", "")
    negative_slope: float | None = setting("slope below zero")


@dataclass
class NormConfig:
    """The normalization of hidden layers."""

    name: str = setting("normalization after each hidden layer", "")
    momentum: float | None = setting("weight of a batch in the running statistics; null: 0.1", check=above_up_to(0, 1))
    eps: float | None = setting("added to the variance; null: 1e-5", check=above(0))
    ghost_size: int | None = setting("minimum number of images that are normalized together", check=at_least(2))
    num_groups: int | None = setting("groups that the channels are divided into", check=at_least(1))


@dataclass
class DropoutConfig:
    """Dropout on hidden layers, in training only."""

    name: str = setting("kind of dropout on hidden layers", "")
    rate: float | None = setting("probability that a unit is dropped in training", check=from_up_to(0, 1))


@dataclass
class ArchitectureConfig:
    """Changes to the network; steps combine freely, null turns a step off."""

    deep_stem: bool | None = setting("three 3x3 convolutions in place of the imagenet stem's 7x7 (ResNet-C)")
    pooled_shortcuts: bool | None = setting("average pooling in the shortcuts that downsample (ResNet-D)")
    zero_gamma: bool | None = setting("initialize the scale of the last norm in each residual branch to 0")
    weight_standardization: bool | None = setting("standardize each convolution filter to mean 0 and variance 1")
    blur_pool: bool | None = setting("low-pass filter before each downsampling")
    squeeze_excitation: int | None = setting(
        "reduction ratio: channels per hidden unit of the channel gates", check=at_least(1)
    )
    stochastic_depth: float | None = setting(
        "probability of dropping the last residual branch in training; lower in earlier ones", check=inside(0, 1)
    )
    fixed_scale: bool | None = setting("the scale of norms is not trained")
    logit_scale: float | None = setting(
        "factor of the logits", check=Check("above 0 and not 1", lambda value: value > 0 and value != 1)
    )


@dataclass
class CoursesConfig:
    """Changes in the course of training; courses combine freely, null turns a course off."""

    early_dropout: float | None = setting(
        "fraction of training over which dropout falls linearly to 0", check=above_up_to(0, 1)
    )
    late_dropout: float | None = setting("fraction of training before dropout begins", check=inside(0, 1))
    layer_freezing: float | None = setting(
        "fraction of training after which layers are frozen one by one, starting at the first", check=inside(0, 1)
    )
    gradual_unfreezing: float | None = setting(
        "fraction of training over which layers are unfrozen one by one, starting at the last", check=above_up_to(0, 1)
    )
    progressive_resizing: float | None = setting("initial side length of the images, as a fraction", check=inside(0, 1))
    first_bias_freezing: float | None = setting(
        "fraction of training after which the bias of the first layer is frozen", check=inside(0, 1)
    )


@dataclass
class InitConfig:
    """The initial weights."""

    name: str = setting("how weights are initialized; default: as torch does, or as the activation needs", "")
    eps: float | None = setting("added to the variances of patches before they are scaled to 1", check=above(0))
    others: str | None = setting("init of the convolutions that do not whiten", check=one_of("default", "dirac"))
    head_std: float | None = setting("standard deviation of the last layer's weights; null: torch's", check=above(0))


@dataclass
class AugmentationConfig:
    """Random changes to training images; steps combine freely, null turns a step off."""

    flip: str | None = setting(
        "horizontal flip: random (half of the images) or alternating (each image in every other epoch)",
        check=one_of("random", "alternating", "none"),
    )
    crop_padding: int | None = setting("padding of random crops, in pixels", check=at_least(1))
    crop_border: str | None = setting("padding: black or reflect; null: black", check=one_of("black", "reflect"))
    resized_crop: float | None = setting(
        "minimum area of a random resized crop, as a fraction of the image",
        check=above_up_to(0, 1),
    )
    brightness: float | None = setting("maximum change in brightness, as a fraction", check=above_up_to(0, 1))
    contrast: float | None = setting("maximum change in contrast, as a fraction", check=above_up_to(0, 1))
    saturation: float | None = setting("maximum change in saturation, as a fraction", check=above_up_to(0, 1))
    trivial_augment: str | None = setting(
        "one random operation per image, with the strengths of RandAugment (standard) or stronger (wide)",
        check=one_of("standard", "wide", "none"),
    )
    randaugment_ops: int | None = setting("random operations per image", check=at_least(1))
    randaugment_magnitude: int | None = setting("magnitude of these operations, from 0 to 30", check=between(0, 30))
    cutout: int | None = setting("side length of the square that is cut out, in pixels", check=at_least(1))
    erasing: float | None = setting("probability of erasing a random rectangle of an image", check=above_up_to(0, 1))
    erasing_fill: str | None = setting(
        "fill of the rectangle: mean or noise; null: mean", check=one_of("mean", "noise")
    )
    repeats: int | None = setting("copies of each image in a batch, each augmented differently", check=at_least(2))


@dataclass
class MixingConfig:
    """Mixing of the images and targets of a training batch."""

    name: str = setting("how training images are mixed", "")
    mixup_alpha: float | None = setting("alpha of mixup's Beta(alpha, alpha) distribution", check=above(0))
    cutmix_alpha: float | None = setting("alpha of CutMix's Beta(alpha, alpha) distribution", check=above(0))
    until: float | None = setting("fraction of training after which mixing ends", check=above_up_to(0, 1))


@dataclass
class LossConfig:
    """The training loss."""

    name: str = setting("training loss", "")
    label_smoothing: float | None = setting(
        "fraction of each target that is spread over all classes", check=from_up_to(0, 1)
    )
    class_weights: Any = setting(
        "null; balanced (inverse to class frequency); or a weight per class, such as [1,2,1]",
        check=Check("balanced or a list of numbers of at least 0", is_class_weight),
    )
    target_threshold: float | None = setting("probability above which a target is 1, else 0", check=from_up_to(0, 1))
    gamma: float | None = setting("focusing parameter: exponent of the weight 1 - p", check=at_least(0))
    teacher: str | None = setting("teacher: the ID of a finished run, or a best.pt")
    temperature: float | None = setting("temperature, which divides the logits of both networks", check=above(0))
    alpha: float | None = setting(
        "weight of the teacher's loss; that of the targets is 1 - alpha", check=above_up_to(0, 1)
    )


@dataclass
class AveragingConfig:
    """Averaging of weights over steps; the averaged weights are evaluated."""

    name: str = setting("how weights are averaged over steps", "")
    decay: float | None = setting("decay rate of the average", check=inside(0, 1))
    warmup: bool | None = setting("raise the decay rate from 0.1 over the first steps")
    start: float | None = setting("fraction of training after which averaging starts", check=from_up_to(0, 1))
    interval: int | None = setting("steps between updates of the slow weights", check=at_least(1))
    alpha: float | None = setting("step size of the slow weights towards the fast weights", check=inside(0, 1))
    power: float | None = setting(
        "p: slow weights keep a fraction (1 - alpha) (t / T)^p at step t of T", check=at_least(0)
    )


@dataclass
class ViewsConfig:
    """Views of each test image whose logits are averaged, in addition to the plain evaluation."""

    name: str = setting("views of each test image", "")
    shift: int | None = setting("shift of the views, in pixels", check=at_least(1))
