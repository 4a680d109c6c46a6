"""Networks of the presets of conf/model, built from scratch, that several test files share."""

from functools import partial
from typing import Any

import torch
from choices import overridden, presets
from torch import nn

from sweeper.models import MODELS, build_model
from sweeper.models.init import INITS
from sweeper.models.layers import ACTIVATIONS, NORMS, dropout
from sweeper.models.linear import Shape
from sweeper.training.build import pretrained_state

Settings = dict[str, Any]
PRESETS = presets("model")
BIG = (3, 32, 32)
SLOTS = (("activation", "relu"), ("norm", "none"))


def build(name: str, shape: Shape = BIG, num_classes: int = 10, *, rate: float = 0.0, **changes: Any) -> nn.Module:
    """Build a preset of conf/model/ from scratch, with changes to its slots and settings."""
    own = {group: "own" for group, chosen in overridden(name).items() if chosen == "own"}
    activation, norm = (changes.pop(group, own.get(group, other)) for group, other in SLOTS)
    of_norm: Settings = {name: changes.pop(name) for name in ("num_groups", "eps") if name in changes}
    of_norm = ({"num_groups": 4} if norm == "group" else {}) | of_norm
    settings: Settings = {"weights": None} if "weights" in PRESETS[name] else {}
    settings |= {"arch": "mobilenet_v3_small"} if PRESETS[name].get("arch") == "vgg16" else {}  # which takes seconds
    settings = {key: value for key, value in (PRESETS[name] | settings | changes).items() if key != "name"}
    torch.manual_seed(0)
    model = build_model(
        partial(MODELS[PRESETS[name]["name"]], **settings),
        shape,
        num_classes,
        activation=partial(ACTIVATIONS[activation], **({"negative_slope": 0.2} if activation == "leaky_relu" else {})),
        norm=partial(NORMS[norm], **of_norm),
        dropout=partial(dropout, rate=rate),
    )
    INITS["default"](model, lambda number: torch.zeros(number, *shape))
    model.load_state_dict(pretrained_state(model), strict=False)
    return model
