"""Train the motion denoiser: windows of filmed motion under noise, with the speech meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from vasa_cli.diffusion import CONTEXT, WINDOW, add_noise, sample
from vasa_cli.gaze import GAZE, as_condition, filmed_gaze
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.models.audio_encoder import N_CLASSES
from vasa_cli.models.denoiser import EARSHOT, Denoiser
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.motion_edit import stacked, unstacked
from vasa_cli.steadying import steadied
from vasa_cli.training.loop import Average, Run, learning_rate, set_learning_rate
from vasa_cli.training.motion_data import MIN_SYNC, SYNC_NEEDS_FRAMES, Take

MOTION_DIM = N_HEAD_POSE + N_DYNAMICS
DROP_SPEECH, DROP_PAST = 0.1, 0.4
DROP_GAZE, PART_GAZE = 0.5, 0.3  # mostly none is asked; some are asked for a part of the window
LIPS_COLUMNS = (N_HEAD_POSE + MOUTH_OPEN, N_HEAD_POSE + MOUTH_OPEN + 1)  # opening and width
MADE_LIPS = 0.25  # weight of generated clips' lips


@dataclass(frozen=True)
class Scale:
    """Motion in standard deviations: divide by `spread`.

    style: mean and spread of the logarithms of head and mouth liveliness.
    """

    spread: Tensor  # (MOTION_DIM,)
    style_mean: Tensor  # (N_STYLE,)
    style_spread: Tensor  # (N_STYLE,)


@dataclass(frozen=True)
class Batch:
    """Windows to learn from."""

    clean: Tensor  # (B, WINDOW, D) in standard deviations
    past: Tensor  # (B, CONTEXT, D)
    speech: Tensor  # (B, 2 (CONTEXT + WINDOW), F)
    gaze: Tensor  # (B, CONTEXT + WINDOW, N_GAZE), of which nothing is held where it is withheld
    style: Tensor  # (B, N_STYLE)
    padding: Tensor  # (B, CONTEXT + WINDOW)
    weight: Tensor  # (B, WINDOW, D)


def liveliness(motion: np.ndarray) -> np.ndarray:
    """Logarithms (N_STYLE,) of the head's mean turn a frame in degrees and the mouth's spread."""
    turn = np.abs(np.diff(motion[:, :3], axis=0)).mean()
    return np.log([turn + 0.02, motion[:, LIPS_COLUMNS[0]].std() + 0.05])


def measure_scale(takes: list[Take]) -> Scale:
    """The spread of all takes' motion, and of the liveliness of real ones."""
    every = np.concatenate([t.motion for t in takes])
    filmed = [t for t in takes if t.real] or takes
    styles = np.stack([liveliness(t.motion) for t in filmed])
    spread = torch.from_numpy(every.std(0) + 1e-4)
    return Scale(
        spread,
        torch.from_numpy(styles.mean(0)).float(),
        torch.from_numpy(styles.std(0) + 0.05).float(),
    )


def column_weights(geometry: Geometry) -> Tensor:
    """How much each column counts, (MOTION_DIM,).

    By how far it moves the points, the lips' opening and width threefold.
    """
    # (N_DYNAMICS,) mean shift of a point for one deviation
    moved = np.linalg.norm(geometry.dynamics_basis, axis=1).mean(0)
    weight = np.concatenate([np.ones(N_HEAD_POSE), np.sqrt(moved / moved[MOUTH_OPEN])])
    weight[list(LIPS_COLUMNS)] *= 3.0
    # gaze and lids move few points, but everyone sees them
    weight[N_HEAD_POSE : N_HEAD_POSE + 4] = 1.0
    return torch.from_numpy(weight).float()


def lips_trusted(take: Take) -> float:
    """Weight of a take's lips: none where they ignore the sound, little for generated clips."""
    if len(take.motion) >= SYNC_NEEDS_FRAMES and take.sync < MIN_SYNC:
        return 0.0
    return 1.0 if take.real else MADE_LIPS


def gaze_of(take: Take, geometry: Geometry) -> np.ndarray:
    """Where a take's eyes look, (T, 2) degrees, see `filmed_gaze`."""
    eyes = take.motion[:, [N_HEAD_POSE + k for k in GAZE]]
    return filmed_gaze(take.motion[:, :3], eyes, geometry)


def steady(take: Take, spread: np.ndarray) -> Take:
    """A take without the faults with which it was labelled, see `steadying`.

    Args: spread (MOTION_DIM,) of each column over all takes.
    """
    better = steadied(unstacked(take.motion, Motion.fps), spread, np.ones(MOTION_DIM, bool))
    return replace(take, motion=stacked(better).astype(np.float32))


class WindowSampler:
    """Draws windows: long clips for head and eyes, all clips for lips; short ones are padded."""

    def __init__(self, takes: list[Take], scale: Scale, geometry: Geometry, *, seed: int) -> None:
        self.takes, self.scale, self.columns = takes, scale, column_weights(geometry)
        self.gazes = [gaze_of(take, geometry) for take in takes]
        self.rng = np.random.default_rng(seed)
        length = np.array([len(t.motion) for t in takes], float)
        share = np.minimum(length, 400.0) * np.array([max(lips_trusted(t), 0.2) for t in takes])
        self.share = share / share.sum()

    def draw(self, n: int) -> Batch:
        """A batch of n windows."""
        chosen = self.rng.choice(len(self.takes), n, p=self.share)
        return collate([self._window(self.takes[k], self.gazes[k]) for k in chosen])

    def _gaze(self, looks: np.ndarray, start: int) -> Tensor:
        """Where the eyes look in a window, (CONTEXT + WINDOW, N_GAZE), more or less of it held."""
        index = np.arange(start - CONTEXT, start + WINDOW).clip(0, len(looks) - 1)
        held = np.full(len(index), float(self.rng.random() > DROP_GAZE))
        if self.rng.random() < PART_GAZE:
            first, last = np.sort(self.rng.integers(0, len(index) + 1, 2))
            held[:first], held[last:] = 0, 0
        return torch.from_numpy(as_condition(looks[index], held))

    def _window(self, take: Take, looks: np.ndarray) -> tuple[Tensor, ...]:
        """The parts of a `Batch` of one window."""
        n_all = len(take.motion)
        start = int(self.rng.integers(0, max(1, n_all - WINDOW + 1)))
        motion = torch.from_numpy(take.motion) / self.scale.spread
        clean, valid = torch.zeros(WINDOW, MOTION_DIM), min(WINDOW, n_all - start)
        clean[:valid] = motion[start : start + valid]
        past = torch.zeros(CONTEXT, MOTION_DIM)
        if start >= CONTEXT and self.rng.random() > DROP_PAST:
            past = motion[start - CONTEXT : start] + 0.02 * torch.randn(CONTEXT, MOTION_DIM)
        elif start > 0:
            past = motion[start : start + 1].expand(CONTEXT, -1) * float(self.rng.random() < 0.5)
        heard = torch.from_numpy(take.speech)
        index = torch.arange(2 * (start - CONTEXT), 2 * (start + WINDOW) + EARSHOT)
        index = index.clamp(0, len(heard) - 1)
        style = torch.from_numpy(liveliness(take.motion)).float()
        style = (style - self.scale.style_mean) / self.scale.style_spread
        padding = torch.arange(CONTEXT + WINDOW) >= CONTEXT + valid
        weight = self.columns.clone()
        weight[N_HEAD_POSE + 4 :] *= lips_trusted(take)
        if n_all < SYNC_NEEDS_FRAMES:
            weight[:N_HEAD_POSE] *= 0.2  # too short to know where the head rests
            weight[N_HEAD_POSE : N_HEAD_POSE + 4] *= 0.3
        weight = weight * ~padding[CONTEXT:, None]  # (WINDOW, MOTION_DIM)
        gaze = self._gaze(looks, start)
        return clean, past, heard[index], gaze, style.clamp(-3, 3), padding, weight


def collate(windows: list[tuple[Tensor, ...]]) -> Batch:
    """Windows as one batch."""
    return Batch(*(torch.stack(column).contiguous() for column in zip(*windows)))


def loss_of(
    model: Denoiser, batch: Batch, level: Tensor, noise: Tensor, *, speech: Tensor | None
) -> Tensor:
    """Weighted squared error of the clean motion and of its velocity."""
    noisy = add_noise(batch.clean, noise, level)
    aim = model.look(batch.gaze)
    heard = model.listen(speech)[:, : aim.shape[1]] + aim
    found = model(
        noisy, level, past=batch.past, heard=heard, style=batch.style, padding=batch.padding
    )
    error = ((found - batch.clean).square() * batch.weight).sum() / batch.weight.sum()
    weight = batch.weight[:, 1:] * batch.weight[:, :-1].gt(0)
    speed = ((found.diff(dim=1) - batch.clean.diff(dim=1)).square() * weight).sum() / weight.sum()
    return error + 2.0 * speed


def train(
    folder: Path,
    takes: list[Take],
    geometry: Geometry,
    *,
    minutes: float,
    device: str,
    batch: int,
    width: int,
    n_layers: int,
    rate: float = 4e-4,
    report: Callable[[str], None] = print,
    max_steps: int = 10**9,
) -> tuple[Denoiser, Scale]:
    """Train until the time is over; the averaged denoiser, and the scale of its motion."""
    trembling = np.concatenate([t.motion for t in takes if not t.validation]).std(0)
    takes = [steady(take, trembling) for take in takes]
    learned = [t for t in takes if not t.validation]
    held = [t for t in takes if t.validation]
    scale = measure_scale(learned)
    model = Denoiser(
        motion_dim=MOTION_DIM, speech_dim=learned[0].speech.shape[1], width=width, n_layers=n_layers
    ).to(device)
    average = Average(model, decay=0.999)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.05)
    run = Run(folder, minutes, device, max_steps=max_steps, report=report)
    parts = {"model": model, "average": average, "optimiser": optimiser}
    run.resume(parts)
    sampler = WindowSampler(learned, scale, geometry, seed=run.step)
    mean = 0.0
    while run.going:
        set_learning_rate(optimiser, learning_rate(run.share_done, peak=rate))
        drawn = Batch(*(x.to(device) for x in vars(sampler.draw(batch)).values()))
        drop = torch.rand(batch, device=device) < DROP_SPEECH
        with run.autocast():
            loss = torch.zeros((), device=device)
            for withheld in (False, True):
                chosen = torch.nonzero(drop == withheld)[:, 0]
                if len(chosen):
                    part = Batch(*(x[chosen] for x in vars(drawn).values()))
                    level = torch.rand(len(chosen), device=device) ** 0.7
                    noise = torch.randn_like(part.clean)
                    speech = None if withheld else jitter(part.speech)
                    error = loss_of(model, part, level, noise, speech=speech)
                    loss = loss + error * len(chosen) / batch
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model, run.step)
        run.step += 1
        now = float(loss.detach())
        mean = now if mean == 0 else 0.98 * mean + 0.02 * now
        if run.step % 100 == 0:
            figures: dict[str, float] = {}
            if run.step % 1000 == 0:
                figures = validate(average.module, held[:60], scale)  # type: ignore[arg-type]
            run.log(loss=mean, **figures)
        run.save_if_due(parts)
    run.save(parts)
    return average.module.eval(), scale  # type: ignore[return-value]


def jitter(speech: Tensor) -> Tensor:
    """Speech features (B, T, F) a little off, so that no take is learned by heart.

    Surer or less sure phones, another loudness and pitch, noise, and frames withheld now and then.
    """
    n, device = len(speech), speech.device
    sureness = torch.empty(n, 1, 1, device=device).uniform_(0.6, 1.6)
    phones = speech[..., :N_CLASSES].clamp_min(1e-4) ** sureness
    phones = phones / phones.sum(-1, keepdim=True)
    rest = speech[..., N_CLASSES:]
    rest = rest + 0.15 * torch.randn(n, 1, rest.shape[-1], device=device)
    noisy = torch.cat([phones, rest], -1)
    noisy = noisy + 0.05 * torch.randn_like(noisy)
    return noisy * (torch.rand(*speech.shape[:2], 1, device=device) > 0.03)


@torch.inference_mode()
def validate(
    model: Denoiser, takes: list[Take], scale: Scale, *, num_steps: int = 6
) -> dict[str, float]:
    """Sampled against real motion, as means over takes held back.

    Correlation of the mouth's opening and width, the opening's relative spread, and the head's turn
    a frame in degrees, sampled and real.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    names = ("open", "width", "turn", "turn_real", "spread")
    found: dict[str, list[float]] = {name: [] for name in names}
    for k, take in enumerate(t for t in takes if lips_trusted(t) > 0):
        drawn = sample(
            model,
            torch.from_numpy(take.speech).to(device),
            n_frames=len(take.motion),
            motion_dim=MOTION_DIM,
            style=torch.zeros(1, 2, device=device),
            seed=k,
            num_steps=num_steps,
            guidance_audio=0.5,
        )
        motion = (drawn.cpu() * scale.spread).numpy()
        for name, column in zip(("open", "width"), LIPS_COLUMNS):
            ours, theirs = motion[:, column], take.motion[:, column]
            if min(ours.std(), theirs.std()) > 1e-6:
                found[name].append(float(np.corrcoef(ours, theirs)[0, 1]))
        real_spread = take.motion[:, LIPS_COLUMNS[0]].std() + 1e-3
        found["spread"].append(motion[:, LIPS_COLUMNS[0]].std() / real_spread)
        if len(motion) >= SYNC_NEEDS_FRAMES:
            found["turn"].append(np.abs(np.diff(motion[:, :3], axis=0)).mean())
            found["turn_real"].append(np.abs(np.diff(take.motion[:, :3], axis=0)).mean())
    model.train(was_training)
    return {key: float(np.mean(values)) for key, values in found.items() if values}
