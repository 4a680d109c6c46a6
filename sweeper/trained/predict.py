"""Classes of image files, as a network or the mean of several networks predicts them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.errors import UserError
from sweeper.runs.measures import probabilities
from sweeper.runs.network import TrainedNetwork
from sweeper.trained.images import read_images


@dataclass(frozen=True)
class Predictions:
    """What networks predict for image files.

    Attributes:
        probabilities: a row for each readable file, in the order given, by its path; a column for each class.
        unreadable: the reason for each other file.
    """

    probabilities: pd.DataFrame
    unreadable: dict[Path, str]

    def top(self, k: int) -> pd.DataFrame:
        """Return the k most probable classes of each file: `class_1`, `probability_1`, ..., `class_k`, `probability_k`.

        With fewer than k classes, all of them.
        """
        shares = self.probabilities.to_numpy()
        order = np.argsort(-shares, axis=1, kind="stable")[:, :k]  # (N, k)
        columns: dict[str, object] = {}
        for rank in range(order.shape[1]):
            columns[f"class_{rank + 1}"] = self.probabilities.columns.to_numpy()[order[:, rank]]
            columns[f"probability_{rank + 1}"] = np.take_along_axis(shares, order[:, rank : rank + 1], axis=1)[:, 0]
        return pd.DataFrame(columns, index=self.probabilities.index)


def predict(
    networks: Sequence[TrainedNetwork], files: Sequence[Path], after: Callable[[int], None] = lambda done: None
) -> Predictions:
    """Predict image files; of several networks, the mean of their probabilities (Lakshminarayanan et al., 2017).

    Each network reads an image as in its training. A file that cannot be read is left out.

    Args:
        networks: of the same classes.
        files: image files, see sweeper.trained.images.find_images.
        after: called with the number of files that were done since the last call.

    Raises:
        UserError: the networks have different classes.
    """
    check_classes(networks)
    readings = list(dict.fromkeys(network.read for network in networks))
    done, unreadable = 0, {}
    found: list[NDArray[np.float64]] = []
    for chunk in read_images(files, readings):
        images = [image for image in chunk if not isinstance(image, UserError)]
        for file, image in zip(files[done : done + len(chunk)], chunk, strict=True):
            if isinstance(image, UserError):
                unreadable[file] = str(image)
        if images:
            each = [network.logits(np.stack([image[network.read] for image in images])) for network in networks]
            found.append(np.mean([probabilities(logits) for logits in each], axis=0))
        done += len(chunk)
        after(len(chunk))
    readable = [str(file) for file in files if file not in unreadable]
    shares = np.concatenate(found) if found else np.empty((0, len(networks[0].classes)))
    return Predictions(pd.DataFrame(shares, pd.Index(readable, name="image"), networks[0].classes), unreadable)


def check_classes(networks: Sequence[TrainedNetwork]) -> None:
    """Refuse networks of different classes.

    Raises:
        UserError: they have different classes.
    """
    first = networks[0]
    for network in networks:
        if network.classes != first.classes:
            raise UserError(f"{network.run_id} has other classes than {first.run_id}; an ensemble needs the same")
