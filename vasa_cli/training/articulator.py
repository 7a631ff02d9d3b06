"""Train the articulator: windows of filmed motion from the sound heard meanwhile, by regression."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.models.articulator import N_PROSODY, Articulator
from vasa_cli.models.audio_encoder import LOUDEST, N_MELS, AudioEncoder
from vasa_cli.motion import FREE, LIDS
from vasa_cli.training.loop import Average, Run, learning_rate, set_learning_rate
from vasa_cli.training.motion import column_weights, lips_trusted
from vasa_cli.training.motion_data import Take
from vasa_cli.training.sound_augment import another_voice

WINDOW = 76  # frames
UNHEARD = 12  # frames at the start of a window whose past was cut off: no loss there
TEMPOS = (0.85, 1.18)
FREE_WEIGHT = 0.1  # of gaze, lids and brows, which the sound hardly tells
ERROR_WEIGHT = 0.3  # of the squared error beside 1 less the correlation
EAR_RATE = 0.2  # learning rate of the ear that is trained on, of that of the rest
LONGEST_SHARE = 400.0  # frames of a clip that count for how often it is drawn
MAX_GAIN = 2.0
NEAR = 0.8  # of `LOUDEST`, from where on it costs
NEAR_WEIGHT = 0.1


class WindowSampler:
    """Draws windows of all clips whose lips follow their sound; short ones are padded."""

    def __init__(self, takes: list[Take], spread: np.ndarray, *, seed: int) -> None:
        """Args: spread (N_DYNAMICS,) what a unit of the drawn dynamics is."""
        self.takes, self.spread = takes, spread
        self.rng = np.random.default_rng(seed)
        share = [lips_trusted(t) * min(float(len(t.motion)), LONGEST_SHARE) for t in takes]
        self.share = np.array(share) / np.sum(share)

    def draw(self, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mels (n, 4 W, N_MELS), prosody (n, 2 W, 3), dynamics and their weight (n, W, K or 1)."""
        mels = np.zeros((n, 4 * WINDOW, N_MELS), np.float32)
        prosody = np.zeros((n, 2 * WINDOW, N_PROSODY), np.float32)
        dynamics = np.zeros((n, WINDOW, N_DYNAMICS), np.float32)
        weight = np.zeros((n, WINDOW, 1), np.float32)
        for row, k in enumerate(self.rng.choice(len(self.takes), n, p=self.share)):
            take = self.takes[k]
            tempo = self.rng.uniform(*TEMPOS) if self.rng.random() < 0.6 else 1.0
            n_all = int(len(take.motion) / tempo)  # frames of the clip at that tempo
            n_taken = min(WINDOW, n_all)
            start = int(self.rng.integers(0, n_all - n_taken + 1))
            for there, source, rate in (
                (mels, take.mels, 4),
                (prosody, take.speech[:, -N_PROSODY:], 2),
                (dynamics, take.motion[:, N_HEAD_POSE:], 1),
            ):
                place = (np.arange(rate * start, rate * (start + n_taken)) + 0.5) * tempo - 0.5
                there[row, : rate * n_taken] = between(source, place)
            weight[row, UNHEARD if start else 0 : n_taken] = 1.0
        drawn = (mels, prosody, dynamics / self.spread.astype(np.float32), weight)
        return tuple(torch.from_numpy(x) for x in drawn)  # type: ignore[return-value]


def between(rows: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Rows (T, D) at fractional places (N,), linear, the ends held."""
    place = place.clip(0, len(rows) - 1)
    below = place.astype(int)
    above = np.minimum(below + 1, len(rows) - 1)
    share = (place - below)[:, None].astype(np.float32)
    return rows[below].astype(np.float32) * (1 - share) + rows[above] * share


def correlation(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Over time, (B, T, K) to (B, K); near 0 where one of them hardly moves."""
    n = weight.sum(1, keepdim=True).clamp_min(1.0)
    a = (a - (a * weight).sum(1, keepdim=True) / n) * weight
    b = (b - (b * weight).sum(1, keepdim=True) / n) * weight
    power = a.square().sum(1) * b.square().sum(1)
    return (a * b).sum(1) / (power + 1e-2 * n[:, 0]).sqrt()


def loss_of(found: Tensor, truth: Tensor, weight: Tensor, columns: Tensor) -> Tensor:
    """One less the correlation in each window, and a little of the squared error.

    A window's correlation does not care how lively a talker is, the squared error does.
    """
    apart = ((1 - correlation(found, truth, weight)) * columns).mean()
    error = ((found - truth).square() * weight * columns).sum() / weight.sum() / columns.numel()
    return apart + ERROR_WEIGHT * error


class Excess:
    """How far what goes through an ear's layers comes near where it is cut.

    What is cut has no gradient, so layers that feed each other would stay as they are.
    """

    def __init__(self, ear: AudioEncoder) -> None:
        self._found: list[Tensor] = []
        for layer in list(ear.layers)[:-1]:
            layer.register_forward_hook(lambda module, given, made: self._found.append(made))

    def taken(self) -> Tensor:
        """Mean square of what was too much since it was last asked, ()."""
        found, self._found = self._found, []
        over = [F.relu(x.float().abs() - NEAR * LOUDEST).square().mean() for x in found]
        return torch.stack(over).mean()


def weights_of_columns(geometry: Geometry) -> Tensor:
    """How much each of the dynamics counts, (N_DYNAMICS,), 1 on average."""
    columns = column_weights(geometry)[N_HEAD_POSE:].clone()
    columns[[EXPLICIT.index(name) for name in FREE]] = FREE_WEIGHT
    columns[list(LIDS)] = FREE_WEIGHT
    return columns / columns.mean()


@torch.no_grad()
def measure(model: Articulator, takes: list[Take], spread: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean correlation over takes (N_DYNAMICS,), and what brings the mean's spread to people's."""
    model.eval()
    device = next(model.parameters()).device
    found, ours, theirs = [], [], []
    for take in takes:
        mels = torch.from_numpy(take.mels.astype(np.float32))[None].to(device)
        prosody = torch.from_numpy(take.speech[:, -N_PROSODY:])[None].to(device)
        made = model(mels, prosody).cpu()
        truth = torch.from_numpy(take.motion[:, N_HEAD_POSE:] / spread).float()[None]
        found.append(correlation(made, truth, torch.ones(1, len(take.motion), 1))[0])
        ours.append(made[0].std(0))
        theirs.append(truth[0].std(0))
    trust = torch.stack(found).mean(0)
    gain = torch.stack(theirs).mean(0) / torch.stack(ours).mean(0).clamp_min(1e-3)
    return trust, gain.clamp(1.0, MAX_GAIN)


def train(
    folder: Path,
    takes: list[Take],
    geometry: Geometry,
    ear: AudioEncoder,
    *,
    minutes: float,
    device: str,
    batch: int,
    width: int,
    rate: float = 1e-3,
    report: Callable[[str], None] = print,
    max_steps: int = 10**9,
    begin: Path | None = None,
) -> Articulator:
    """Train until the time is over; the averaged articulator.

    Args: ear: the phonetic one, as whose copy the articulator's own begins; begin: weights to
        go on from where there is no checkpoint.
    Raises: as `Run.begin_with`.
    """
    learned = [t for t in takes if not t.validation and lips_trusted(t) > 0]
    held = [t for t in takes if t.validation and t.real and lips_trusted(t) > 0] or learned
    spread = np.concatenate([t.motion[:, N_HEAD_POSE:] for t in learned]).std(0) + 1e-4
    columns = weights_of_columns(geometry).to(device)
    model = Articulator(n_dynamics=N_DYNAMICS, ear_width=ear.width, width=width).to(device)
    model.ear.load_state_dict(ear.state_dict(), strict=False)  # all but its classes
    average = Average(model, decay=0.995)
    own = {id(p) for p in model.ear.parameters()}
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if id(p) not in own]},
            {"params": list(model.ear.parameters())},
        ],
        weight_decay=0.1,
    )
    run = Run(folder, minutes, device, max_steps=max_steps, report=report)
    run.begin_with(begin, "articulator", model, average.module)
    parts = {"model": model, "average": average, "optimiser": optimiser}
    run.resume(parts)
    excess = Excess(model.ear)
    sampler = WindowSampler(learned, spread, seed=run.step)
    torch.manual_seed(run.step)
    mean = 0.0
    while run.going:
        set_learning_rate(optimiser, learning_rate(run.share_done, peak=rate))
        optimiser.param_groups[1]["lr"] *= EAR_RATE
        mels, prosody, truth, weight = (x.to(device) for x in sampler.draw(batch))
        prosody = prosody + 0.1 * torch.randn_like(prosody[:, :1])
        model.train()
        with run.autocast():
            made = model(another_voice(mels), prosody)
        loss = loss_of(made, truth, weight, columns) + NEAR_WEIGHT * excess.taken()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        average.update(model, run.step)
        run.step += 1
        now = float(loss.detach())
        mean = now if mean == 0 else 0.98 * mean + 0.02 * now
        if run.step % 100 == 0:
            trust, _ = measure(average.module, held, spread)  # type: ignore[arg-type]
            named = dict(zip(EXPLICIT, trust.tolist()))
            run.log(loss=mean, **{k: named[k] for k in ("mouth_open", "mouth_width")})
        run.save_if_due(parts)
    run.save(parts)
    made_of: Articulator = average.module.eval()  # type: ignore[assignment]
    trust, gain = measure(made_of, held, spread)
    made_of.trust.copy_(trust)
    made_of.gain.copy_(gain * torch.from_numpy(spread).float())
    return made_of
