"""Gray images with more than 8 bits: which of their values become black and white."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sweeper.errors import UserError

FULL_RANGE = (0, 65535)


@dataclass
class ValueRange:
    """The values that become black and white in gray images of more than 8 bits, and how far their values go.

    Attributes:
        limits: black and white; None: 0 and 65535, and then images with a sign, more bits or fractions are refused.
        peaks: the largest value of each such image.
        color_peaks: the same of color images with 16 bits a channel, of which Pillow reads the upper 8.
    """

    limits: Sequence[float] | None = None
    peaks: list[float] = field(default_factory=list)
    color_peaks: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.limits is not None and (len(self.limits) != 2 or self.limits[0] >= self.limits[1]):
            raise UserError(
                f"data.value_range={list(self.limits)} must be two values, that of black and a larger one of white"
            )

    def to_uint8(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Scale gray values (H, W) to 256 equal steps; values outside of the range are black or white.

        Raises:
            ValueError: the values are not those of a 16-bit image, and no range is given.
        """
        if not np.isfinite(values).all():
            raise ValueError("it has values that are not finite")
        low, high = float(values.min()), float(values.max())
        is_16_bit = np.issubdtype(values.dtype, np.integer) and low >= FULL_RANGE[0] and high <= FULL_RANGE[1]
        if self.limits is None and not is_16_bit:
            raise ValueError(
                f"its values go from {low:.10g} to {high:.10g}; name those that are black and white, "
                "data.value_range=[BLACK,WHITE]"
            )
        self.peaks.append(high)
        if self.limits is None:
            return (values.astype(np.uint16) >> 8).astype(np.uint8)
        black, white = self.limits
        steps = np.floor((values.astype(np.float64) - black) * (256 / (white - black)))
        return steps.clip(0, 255).astype(np.uint8)

    @property
    def is_dark(self) -> bool:
        """Whether no gray image of more than 8 bits has a value in the upper half of the range, which is not given."""
        return self.limits is None and bool(self.peaks) and max(self.peaks) <= FULL_RANGE[1] // 2

    def check(self) -> None:
        """Check that the range fits the images that were read.

        Raises:
            UserError: images would be dark, or the range has no effect.
        """
        if self.limits is not None:
            if not self.peaks:
                raise UserError(
                    f"data.value_range={list(self.limits)} has no effect: no gray image has more than 8 bits; "
                    "choose data.value_range=null"
                )
            return
        white = FULL_RANGE[1]
        if self.is_dark:
            peak = max(self.peaks)
            likely = next(2**bits - 1 for bits in (8, 10, 12, 14, 15) if peak < 2**bits)
            raise UserError(
                f"no value of the gray images with more than 8 bits is above {peak:.0f} of {white}, so that they would "
                f"be dark; set data.value_range=[0,{likely}], or data.value_range=[0,{white}] if they are"
            )
        if self.color_peaks and max(self.color_peaks) <= FULL_RANGE[1] // 2:
            raise UserError(
                f"no value of the color images with 16 bits a channel is above {white // 2} of {white}, so that they "
                "would be dark; save them with 8 bits a channel"
            )
