"""Train CAPP: windows of motion are to find their own sound among moved and foreign ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.capp import HEAD_DIM, LIPS_DIM, WINDOWS, signals, synchrony
from vasa_cli.errors import InputError
from vasa_cli.geometry import N_HEAD_POSE, Geometry
from vasa_cli.models.capp import PARTS, Capp, Pairing
from vasa_cli.motion import Motion
from vasa_cli.training.loop import Average, Run, learning_rate, set_learning_rate
from vasa_cli.training.motion import jitter, lips_trusted
from vasa_cli.training.motion_data import ENERGY_COLUMN, Take

MOVED = (2, 12)  # frames by which the sound of a moved pair is off
SILENT_SPREAD = 1e-3  # of the energy: a clip without sound
MOTION_NOISE = 0.3  # at most, in standard deviations: labels shake, and sampled motion does not
SHARPEST = 4.0  # logarithm of the softmax's factor
VALIDATE_EVERY = 500  # steps
N_VALIDATION = 80


@dataclass(frozen=True, eq=False)
class Clip:
    """One take as CAPP sees it."""

    motion: Motion
    parts: dict[str, np.ndarray]  # (T, D) signals of each of PARTS
    speech: np.ndarray  # (2 T, F)
    weights: dict[str, float]  # how often each part is drawn

    @classmethod
    def of(cls, take: Take, geometry: Geometry) -> Clip:
        """Lips count as far as they are trusted; a head needs the time of a window to move."""
        motion = Motion(take.motion[:, :N_HEAD_POSE], take.motion[:, N_HEAD_POSE:])
        n, heard = len(motion), take.speech[:, ENERGY_COLUMN].std() > SILENT_SPREAD
        long = {part: heard and n >= WINDOWS[part] + MOVED[0] for part in PARTS}
        weights = {"lips": lips_trusted(take) * long["lips"], "head": 1.0 * long["head"]}
        shares = {part: weight * min(n, 400) for part, weight in weights.items()}
        return cls(motion, signals(motion, geometry), take.speech, shares)


class PairSampler:
    """Draws windows of one part with their own sound and the same clip's at another time."""

    def __init__(self, clips: list[Clip], part: str, *, seed: int) -> None:
        self.part, self.window = part, WINDOWS[part]
        self.clips = [clip for clip in clips if clip.weights[part] > 0]
        if not self.clips:
            raise InputError(f"no clip to learn the {part} from: none is long enough and has sound")
        share = np.array([clip.weights[part] for clip in self.clips])
        self.share = share / share.sum()
        self.rng = np.random.default_rng(seed)

    def draw(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Motion (n, W, D), its speech and moved speech (n, 2 W, F)."""
        chosen = self.rng.choice(len(self.clips), n, n > len(self.clips), p=self.share)
        rows = [self._pair(self.clips[k]) for k in chosen]
        motion, own, moved = (torch.from_numpy(np.stack(column)).float() for column in zip(*rows))
        return motion, own, moved

    def _pair(self, clip: Clip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        last = len(clip.motion) - self.window
        starts = np.arange(last + 1)
        start = int(self.rng.integers(last + 1))
        away = np.abs(starts - start)
        others = starts[(away >= MOVED[0]) & (away <= MOVED[1])]
        if not len(others):  # in the middle of a short clip
            start, others = 0, starts[-1:]
        other = int(self.rng.choice(others))

        def heard(first: int) -> np.ndarray:
            return clip.speech[2 * first : 2 * (first + self.window)]

        return clip.parts[self.part][start : start + self.window], heard(start), heard(other)


def loss_of(pairing: Pairing, motion: Tensor, own: Tensor, moved: Tensor) -> Tensor:
    """Cross-entropy of finding each motion's sound and each sound's motion among those drawn."""
    shown, heard = pairing.read_motion(motion), pairing.read_speech(own)
    factor = pairing.sharpness.clamp(max=SHARPEST).exp()
    alike = factor * shown.flatten(1) @ heard.flatten(1).T  # (B, B)
    off = factor * (shown * pairing.read_speech(moved)).sum((1, 2))  # (B,)
    right = torch.arange(len(motion), device=motion.device)
    among = torch.cat([alike, off[:, None]], 1)
    return (F.cross_entropy(among, right) + F.cross_entropy(alike.T, right)) / 2


def shaken(motion: Tensor, spread: Tensor) -> Tensor:
    """Motion (B, W, D) with noise of a strength of its own for each window."""
    strength = MOTION_NOISE * torch.rand(len(motion), 1, 1, device=motion.device)
    return motion + strength * spread * torch.randn_like(motion)


def measure_spread(clips: list[Clip], part: str) -> Tensor:
    """What one unit of each column is, (D,): its spread within the clips."""
    within = [clip.parts[part] - clip.parts[part].mean(0) for clip in clips]
    return torch.from_numpy(np.concatenate(within).std(0) + 1e-6).float()


def train(
    folder: Path,
    takes: list[Take],
    geometry: Geometry,
    *,
    minutes: float,
    device: str,
    batch: int,
    width: int,
    rate: float = 1e-3,
    report: Callable[[str], None] = print,
    max_steps: int = 10**9,
) -> Capp:
    """Train until the time is over; the averaged network.

    Raises: InputError when no clip is long enough and has sound.
    """
    clips = [Clip.of(take, geometry) for take in takes if not take.validation]
    held = [Clip.of(take, geometry) for take in takes if take.validation]
    speech_dim = takes[0].speech.shape[1]
    model = Capp(lips_dim=LIPS_DIM, head_dim=HEAD_DIM, speech_dim=speech_dim, width=width)
    for part in PARTS:
        model.part(part).spread.copy_(measure_spread(clips, part))
    model = model.to(device)
    average = Average(model, decay=0.998)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    run = Run(folder, minutes, device, max_steps=max_steps, report=report)
    parts = {"model": model, "average": average, "optimiser": optimiser}
    run.resume(parts)
    torch.manual_seed(run.step)
    samplers = {part: PairSampler(clips, part, seed=run.step) for part in PARTS}
    means = dict.fromkeys(PARTS, 0.0)
    while run.going:
        set_learning_rate(optimiser, learning_rate(run.share_done, peak=rate))
        optimiser.zero_grad()
        for part, sampler in samplers.items():
            motion, own, moved = (x.to(device) for x in sampler.draw(batch))
            pairing = model.part(part)
            loss = loss_of(pairing, shaken(motion, pairing.spread), jitter(own), jitter(moved))
            loss.backward()
            now = float(loss.detach())
            means[part] = now if run.step == 0 else 0.98 * means[part] + 0.02 * now
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model, run.step)
        run.step += 1
        if run.step % 100 == 0:
            figures = {f"loss_{part}": mean for part, mean in means.items()}
            if run.step % VALIDATE_EVERY == 0:
                figures |= validate(average.module, held, geometry)  # type: ignore[arg-type]
            run.log(**figures)
        run.save_if_due(parts)
    run.save(parts)
    run.log(**validate(average.module, held, geometry))  # type: ignore[arg-type]
    return average.module.eval()  # type: ignore[return-value]


def validate(model: Capp, held: list[Clip], geometry: Geometry) -> dict[str, float]:
    """How well real pairs of takes held back are told from moved and foreign ones."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval().to("cpu")
    figures: dict[str, float] = {}
    for part in PARTS:
        clips = [clip for clip in held if clip.weights[part] > 0]
        clips = sorted(clips, key=lambda clip: -len(clip.motion))[:N_VALIDATION]
        found = synchrony(model, part, clips, [clip.motion for clip in clips], geometry)
        names = ("real", "shifted_4", "foreign", "accuracy_shifted", "accuracy_foreign")
        figures |= {f"{part}_{name}": found[name] for name in names if name in found}
    model.train(was_training).to(device)
    return figures
