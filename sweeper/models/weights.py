"""Trained weights from elsewhere: files of several layouts, brought to the names and shapes of a network."""

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sweeper.errors import UserError, tell_once

log = logging.getLogger(__name__)

State = dict[str, Tensor]
NESTED = ("model", "state_dict", "model_state_dict")  # where checkpoints keep the weights; Lightning: state_dict
PREFIXES = ("module.", "_orig_mod.", "model.", "network.")  # of DataParallel, torch.compile, Lightning, and of our own
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.")  # in torchvision's files: norm.1 for norm1
AUXILIARY = re.compile(r"(aux\d|AuxLogits)\.")  # last layers of GoogLeNet and Inception v3 that only training uses
CONVERTING = ("googlenet", "inception_v3")  # networks of torchvision, which convert colors with its weights
EXPORTED = (".onnx", ".pt2")
COUNTER = "num_batches_tracked"  # batch norm has it, frozen batch norm does not, and neither needs it


def read_weights(file: str) -> State:
    """Read the state dict in a file, of a network with its own norm: of torch.save, a checkpoint, or safetensors.

    Raises:
        UserError: see `read_content`, `check_norm`, `check_colors` and `state_in`.
    """
    content = read_content(file, "pretrained")
    check_norm(file, content, {"name": "own"})
    check_colors(file, content)
    return state_in(file, content)


def read_content(file: str, known: str) -> Any:
    """Read a file of weights: tensors and plain values only, nothing in it is executed.

    Args:
        known: the name of the weights that the network's library has, for the message.

    Raises:
        UserError: the file is missing, unreadable or a whole network.
    """
    if not Path(file).is_file():
        raise UserError(f"model.weights={file}: there is no such file; choose null, {known} or an existing file")
    if file.endswith(EXPORTED):
        raise UserError(f"model.weights={file} is an exported network; choose its run's best.pt, or a state dict")
    return read_safetensors(file) if file.endswith(".safetensors") else read_pickled(file)


def state_in(file: str, content: Any) -> State:
    """Return the state dict in a file's content; its names lose the prefix that all of them have.

    Raises:
        UserError: there is none.
    """
    for key in NESTED:
        content = content[key] if isinstance(content, Mapping) and isinstance(content.get(key), Mapping) else content
    pairs = list(content.items()) if isinstance(content, Mapping) else []
    if not pairs or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in pairs):
        raise UserError(f"model.weights={file} holds no state dict")
    return without_prefix(file, dict(pairs))


def check_norm(file: str, content: Any, norm: dict[str, Any]) -> None:
    """Check that a run's checkpoint was trained with a norm, name and settings: its tensors may not tell.

    Raises:
        UserError: it was trained with another.
    """
    recorded = content.get("norm") if isinstance(content, dict) else None
    trained_with = recorded if isinstance(recorded, dict) and "name" in recorded else norm  # of a run's checkpoint
    if describe_norm(trained_with) != describe_norm(norm):
        raise UserError(
            f"model.weights={file} was trained with norm={describe_norm(trained_with)}, not with "
            f"norm={describe_norm(norm)}"
        )


def check_colors(file: str, content: Any) -> None:
    """Check that a run's checkpoint is not of a network that converted colors: that of another run would not.

    Raises:
        UserError: it is.
    """
    network = content.get("network") if isinstance(content, dict) else None
    if not isinstance(network, dict) or "groups" not in network:  # of a run's checkpoint
        return
    model, channels = network["groups"]["model"], network["images"]["input_shape"][0]
    if (
        model.get("name") == "torchvision"
        and model.get("arch") in CONVERTING
        and model.get("weights") == "pretrained"
        and channels == 3
    ):
        raise UserError(
            f"model.weights={file} was trained on colors that {model['arch']} converts only with "
            "model.weights=pretrained; choose that, or train both runs from a file of torchvision's weights with "
            "'data.mean=[0.5,0.5,0.5]' 'data.std=[0.5,0.5,0.5]'"
        )


def describe_norm(norm: dict[str, Any]) -> str:
    """Format a norm with its settings, such as `group (num_groups=8)`."""
    settings = ", ".join(f"{key}={value}" for key, value in sorted(norm.items()) if key != "name" and value is not None)
    return f"{norm['name']} ({settings})" if settings else str(norm["name"])


def read_pickled(file: str) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # with a page of advice
        raise UserError(
            f"model.weights={file} cannot be read as tensors and plain values: it is damaged or has others; save "
            "the weights alone, with torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:  # of many kinds
        raise UserError(
            f"model.weights={file} cannot be read as tensors and plain values: {first_line(error)}"
        ) from error


def read_safetensors(file: str) -> Any:
    try:
        from safetensors.torch import load_file

        return load_file(file)
    except ImportError as error:
        raise UserError(
            f"model.weights={file} needs the package safetensors: pip install -e '.[zoo]' in the program's folder"
        ) from error
    except Exception as error:
        raise UserError(f"model.weights={file} cannot be read as safetensors: {error}") from error


def without_prefix(file: str, state: State) -> State:
    """Remove the known prefixes that all names have, and say so."""
    removed = ""
    while prefix := next((it for it in PREFIXES if all(name.startswith(it) for name in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        removed += prefix
    if removed:
        tell_once(log, f"model.weights={file}: names without their prefix {removed}")
    return state


def fit_weights(state: State, own: Mapping[str, Tensor], without: Mapping[str, Tensor], described: str) -> State:
    """Return the tensors of a state dict that a network takes, by the network's names.

    Filters of a first convolution that see three colors are summed where the network sees gray, which for gray images
    is the same. A known layout of other names is converted.

    Args:
        own: the network's state dict; it may be on the meta device.
        without: the tensors of it that are left out: the last layer, which is trained anew.
        described: the weights and the network, for error messages.

    Raises:
        UserError: names or shapes differ.
    """
    kept = {name: value for name, value in own.items() if name not in without and COUNTER not in name}
    state = {name: value for name, value in convert(state, own).items() if COUNTER not in name}
    missing = [name for name in kept if name not in state]
    unknown = [name for name in state if name not in own]
    if missing or unknown:
        raise UserError(
            f"{described}: names differ, the first being {(missing or ['none'])[0]} in the network and "
            f"{(unknown or ['none'])[0]} in the weights"
        )
    fitted = {name: state[name] for name in kept}
    for name, value in kept.items():
        if value.ndim == 4 and value.shape[1] == 1 and state[name].shape == (len(value), 3, *value.shape[2:]):
            fitted[name] = state[name].sum(1, keepdim=True)
        if fitted[name].shape != value.shape:
            shapes = f"{list(value.shape)} in the network and {list(fitted[name].shape)} in the weights"
            raise UserError(f"{described}: shapes differ, the first being that of {name}, {shapes}")
    return fitted


def convert(state: State, own: Mapping[str, Tensor]) -> State:
    """Rename the tensors of a known layout to the network's names, without last layers that it does not have."""
    if "_conv_stem.weight" in state:
        return efficientnet_pytorch(state, own)
    kept = {name: value for name, value in state.items() if name in own or not AUXILIARY.match(name)}
    return {OLD_DENSENET.sub(r"\1", name): value for name, value in kept.items()}


def efficientnet_pytorch(state: State, own: Mapping[str, Tensor]) -> State:
    """Rename the layout of the package efficientnet_pytorch, which has timm's layers in the same order."""
    ours, theirs = ([name for name in names if COUNTER not in name] for names in (own, state))
    if len(ours) != len(theirs):
        return state
    tell_once(log, "model.weights: names of the package efficientnet_pytorch, converted by their order")
    return {name: state[other] for name, other in zip(ours, theirs, strict=True)}


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
