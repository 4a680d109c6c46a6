"""A trained network as one file for programs without this package: torch.export, safetensors or ONNX.

The network of `torch` and `onnx` takes pixels (N, C, H, W) uint8, N at least 1, and returns logits (N, K) float32:
normalization is part of it. safetensors has weights alone.
"""

import copy
import json
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sweeper.errors import UserError, format_names
from sweeper.files import write_text, writing
from sweeper.runs.network import TrainedNetwork
from sweeper.runs.stored_images import Pixels

METADATA = "sweeper.json"  # its name in a .pt2; "sweeper" in the metadata of the others
TOLERANCE = 1e-3  # of the largest logit
Logits = NDArray[np.float32]
Run = Callable[[Pixels], Logits]


class Classifier(nn.Module):
    """A network with its normalization: pixels (N, C, H, W) uint8 -> logits (N, K) float32."""

    scale: Tensor
    shift: Tensor

    def __init__(self, trained: TrainedNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(trained.network).to(memory_format=torch.contiguous_format)
        self.register_buffer("scale", trained.normalize.scale)
        self.register_buffer("shift", trained.normalize.shift)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(torch.float32) * self.scale + self.shift)
        return logits


def export_torch(trained: TrainedNetwork, path: Path, metadata: str) -> Run:
    """Write a program of torch.export, metadata among its extra files; return what runs the written file."""
    program = torch.export.export(Classifier(trained), (example(trained),), dynamic_shapes=dynamic_batch())
    torch.export.save(program, path, extra_files={METADATA: metadata})
    loaded = torch.export.load(path).module()
    return lambda pixels: loaded(torch.from_numpy(pixels)).numpy()


def export_onnx(trained: TrainedNetwork, path: Path, metadata: str) -> Run:
    """Write an ONNX model, metadata among its properties; return what runs the written file."""
    import onnxruntime

    program = torch.onnx.export(
        Classifier(trained),
        (example(trained),),
        dynamo=True,
        dynamic_shapes=dynamic_batch(),
        input_names=["images"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props["sweeper"] = metadata
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"images": pixels})[0]


def export_safetensors(trained: TrainedNetwork, path: Path, metadata: str) -> Run:
    """Write the weights by their names in the network, metadata in the header; return what runs them again."""
    from safetensors.torch import load_file, save_file

    classifier = Classifier(trained)
    save_file(classifier.network.state_dict(), path, {"sweeper": metadata})

    def run(pixels: Pixels) -> Logits:
        classifier.network.load_state_dict(load_file(path))
        return classifier(torch.from_numpy(pixels)).numpy()  # type: ignore[no-any-return]

    return run


Export = Callable[[TrainedNetwork, Path, str], Run]
FORMATS: dict[str, tuple[Export, str, tuple[str, ...]]] = {  # function, suffix, packages
    "torch": (export_torch, ".pt2", ()),
    "safetensors": (export_safetensors, ".safetensors", ("safetensors",)),
    "onnx": (export_onnx, ".onnx", ("onnx", "onnxscript", "onnxruntime")),
}


def check_file(format: str, output: Path | None, default: Path) -> Path:
    """Return the file of an export.

    Args:
        format: of FORMATS.
        output: as given, with the format's suffix; None for the default.
        default: without a suffix.

    Raises:
        UserError: there is no such format, its extra is not installed, or the output is a folder or has another suffix.
    """
    if format not in FORMATS:
        raise UserError(f"--format {format}: unknown format; choose from {format_names(FORMATS)}")
    _, suffix, packages = FORMATS[format]
    if missing := [name for name in packages if find_spec(name) is None]:
        extra = f"pip install -e '.[{format}]' in the program's folder"
        raise UserError(f"--format {format} needs {format_names(missing)}: {extra}")
    if output is not None and output.suffix != suffix:
        raise UserError(f"--output {output}: the suffix of --format {format} is {suffix}")
    if output is not None and output.is_dir():
        raise UserError(f"--output {output} is a folder; name a file in it")
    return output or default.with_name(f"{default.name}{suffix}")


def about(path: Path) -> Path:
    """Return the JSON file beside an export: that of another format of the same run has another name."""
    return path.with_name(f"{path.name}.json")


def export(trained: TrainedNetwork, format: str, path: Path, pixels: Pixels) -> float:
    """Write a network to a file, and what is needed to use it to a JSON file beside it, and check what was written.

    Args:
        trained: the network, on the CPU.
        format: of FORMATS.
        path: the file.
        pixels: images (N, C, H, W) uint8 that the file and the network are compared on.

    Returns:
        The largest difference between a logit of the written file and one of the network in single precision.

    Raises:
        UserError: the network cannot be exported, the difference is too large, or the folder cannot be written to;
            nothing is written.
    """
    metadata = json.dumps(describe(trained, format), indent=1) + "\n"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=path.parent)
    with torch.inference_mode():
        expected = Classifier(trained)(torch.from_numpy(pixels)).numpy()
    with temporary as folder:
        partial = Path(folder) / path.name
        try:
            run = FORMATS[format][0](trained, partial, metadata)
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(f"{trained.run_id} cannot be exported with --format {format}: {reason}") from error
        with torch.inference_mode():
            difference = float(np.abs(run(pixels) - expected).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise UserError(
                f"--format {format}: logits of the file differ by up to {difference:.2g}; nothing is written"
            )
        partial.replace(path)
    write_text(about(path), metadata)
    return difference


def describe(trained: TrainedNetwork, format: str) -> dict[str, Any]:
    """Return what a program needs to use an exported network."""
    channels, height, width = trained.input_shape
    of_pixels = trained.config.task.name == "segmentation"
    weights_alone = {"input": "(pixels / 255 - mean) / std, (N, C, H, W) float32"}
    return {
        "run_id": trained.run_id,
        "classes": trained.classes,
        "input": "pixels, (N, C, H, W) uint8",
        **(weights_alone if format == "safetensors" else {}),
        "channels": channels,
        "height": height,
        "width": width,
        "color": "RGB" if channels == 3 else "gray",
        "resize": trained.read.resize or "squeeze",
        "mean": list(trained.config.data.mean or []),
        "std": list(trained.config.data.std or []),
        "output": f"logits, (N, classes{', H, W' if of_pixels else ''}) float32",
        **({"model": trained.config.model.name} if format == "safetensors" else {}),
    }


def example(trained: TrainedNetwork) -> Tensor:
    """Return pixels for tracing; two images, since a dimension of 1 is taken as fixed."""
    return torch.zeros((2, *trained.input_shape), dtype=torch.uint8)


def dynamic_batch() -> dict[str, dict[int, Any]]:
    return {"images": {0: torch.export.Dim("batch")}}
