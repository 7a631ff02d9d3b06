"""Frames between two others, of which a network need not be asked.

Eyes are laid anew in every frame, in closed form, and their generator only changes what is laid.
Where they move evenly, that change lies in the middle between those of two frames around it, closer
than anyone can see, and the network is asked for these two alone; where they do so for longer, for
less. Mouths are no such thing: their generator's change jumps where lips part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor

DISTANCES = (4, 2, 1)  # at which a frame's two others lie, in this order


@dataclass(frozen=True)
class Evenness:
    """How evenly landmarks must move: root mean squares over them, in half sides of a square."""

    bend: float  # off the middle between the two others
    step: float  # half way from the one to the other


@dataclass(frozen=True)
class Tweens:
    """Of a few frames in a row, those a network is asked for, and those between two of them."""

    asked: tuple[int, ...]
    between: tuple[tuple[int, int], ...]  # a frame, and how far off its two others are

    @classmethod
    def of(cls, *movements: tuple[Tensor, Evenness]) -> Tweens:
        """Frames that lie between two others, where all moves evenly enough.

        Those in the middle of eight first, then those half way to the others, then every second;
        what lies between two may itself be one of these. It follows from these frames alone. On
        CPUs only; a GPU would have to be waited for.

        Args: movements of landmarks (B, K, 2) in their square, and how even they must be.
        """
        n_frames = len(movements[0][0])
        if movements[0][0].device.type != "cpu":
            return cls.none(n_frames)
        between: list[tuple[int, int]] = []
        for away in DISTANCES:
            middles = range(away, n_frames - away, 2 * away)
            is_even = torch.ones(len(middles), dtype=torch.bool)
            for places, even in movements:
                before, here = places[: -2 * away : 2 * away], places[away : -away : 2 * away]
                after = places[2 * away :: 2 * away]
                is_even &= _length(here - (before + after) / 2) < even.bend
                is_even &= _length((after - before) / 2) < even.step
            between += [(k, away) for k, found in zip(middles, is_even.tolist()) if found]
        left_out = {frame for frame, _ in between}
        return cls(tuple(k for k in range(n_frames) if k not in left_out), tuple(between))

    @classmethod
    def none(cls, n_frames: int) -> Tweens:
        """A network is asked for every frame."""
        return cls(tuple(range(n_frames)), ())

    def pick(self, x: Tensor) -> Tensor:
        """Of (B, ...) the frames that are asked for."""
        return x[list(self.asked)] if self.between else x

    def gather(self, parts: Sequence[Tensor]) -> Tensor:
        """Inputs (B, n, H, W) side by side, those of the frames that are asked for."""
        if not self.between:
            return torch.cat(list(parts), 1)
        n_channels = sum(part.shape[1] for part in parts)
        found = parts[0].new_empty(len(self.asked), n_channels, *parts[0].shape[2:])
        for k, frame in enumerate(self.asked):
            torch.cat([part[frame] for part in parts], out=found[k])
        return found

    def complete(self, asked: Tensor) -> Tensor:
        """Outputs (n_asked, C, H, W) and those between them, (B, C, H, W)."""
        if not self.between:
            return asked
        whole = asked.new_empty(len(self.asked) + len(self.between), *asked.shape[1:])
        whole[list(self.asked)] = asked
        for frame, away in self.between:
            torch.add(whole[frame - away], whole[frame + away], out=whole[frame]).mul_(0.5)
        return whole


def _length(shifts: Tensor) -> Tensor:
    """Root mean squares (B,) of shifts (B, K, 2)."""
    return shifts.square().sum(2).mean(1).sqrt()
