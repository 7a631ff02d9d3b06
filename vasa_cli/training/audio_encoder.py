"""Train the audio encoder: speech of known phones, made hard, to broad classes."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models.audio_encoder import CLASSES, N_CLASSES, SILENCE, AudioEncoder
from vasa_cli.training import speech_corpus
from vasa_cli.training.loop import Average, Run, learning_rate, set_learning_rate
from vasa_cli.training.sound_augment import (
    CROP_LABELS,
    CROP_SAMPLES,
    SOURCE_LABELS,
    Sounds,
    plain,
)
from vasa_cli.training.speech_corpus import LABEL_HOP, SPLITS, UNKNOWN, Line, Pack

# For the report: what a viewer can tell apart on a mouth.
GROUPS: dict[str, tuple[str, ...]] = {
    "silence": ("silence",),
    "bilabial": ("bilabial",),
    "labiodental": ("labiodental",),
    "dental_alveolar": (
        *("dental", "alveolar_stop", "alveolar_nasal", "sibilant", "lateral", "rhotic"),
    ),
    "postalveolar": ("postalveolar",),
    "velar_glottal": ("velar", "glottal"),
    "open": ("open", "open_front"),
    "spread": ("mid_front", "close_front", "palatal_glide"),
    "central": ("central",),
    "rounded": ("open_back", "mid_rounded"),
    "close_rounded": ("close_rounded", "front_rounded", "labial_glide"),
}
SMOOTHING = 0.05
VALIDATE_EVERY_S = 180.0
_FULL_SCALE = 32768
# Shares of engines in what is drawn, where there is speech of them; the rest is espeak's. flite has
# few texts, people's speech is what will be heard.
SHARES = {"flite": 0.15, speech_corpus.REAL: 0.35}
_LIPS_WEIGHT = 1.5  # of the classes that a viewer sees at once when they are wrong


class Sampler:
    """Crops of one split, strung together from utterances with pauses."""

    def __init__(self, packs: list[Pack], split: str, *, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        lines = [(pack, line) for pack in packs for line in pack.lines if line.split == split]
        self.pools: dict[str, list[tuple[Pack, Line]]] = {}
        for pack, line in lines:
            self.pools.setdefault(line.engine, []).append((pack, line))
        shares = np.array([SHARES.get(name, 1 - sum(SHARES.values())) for name in self.pools])
        self.shares = shares / shares.sum()

    def __len__(self) -> int:
        return sum(len(pool) for pool in self.pools.values())

    def draw(self, n: int, n_labels: int = SOURCE_LABELS) -> tuple[Tensor, Tensor]:
        """(n, n_labels * LABEL_HOP) float32 in -1..1 and (n, n_labels) int64."""
        samples = np.zeros((n, n_labels * LABEL_HOP), np.int16)
        labels = np.full((n, n_labels), SILENCE, np.uint8)
        for row in range(n):
            at = int(self.rng.integers(0, 15))
            while at < n_labels:
                pack, line = self._pick()
                start = int(self.rng.integers(0, max(1, line.n_labels - n_labels // 2)))
                wave, classes = pack.cut(line, start, n_labels - at)
                labels[row, at : at + len(classes)] = classes
                samples[row, at * LABEL_HOP : at * LABEL_HOP + len(wave)] = wave
                at += len(classes) + int(self.rng.integers(0, 30))
        wide = torch.from_numpy(labels.astype(np.int64))
        return torch.from_numpy(samples.astype(np.float32) / _FULL_SCALE), wide

    def _pick(self) -> tuple[Pack, Line]:
        engines = list(self.pools)
        pool = self.pools[engines[int(self.rng.choice(len(engines), p=self.shares))]]
        return pool[int(self.rng.integers(len(pool)))]


def class_weights(packs: list[Pack]) -> Tensor:
    """(N_CLASSES,): rare classes and those of the lips count more."""
    counts = sum(np.bincount(pack.labels, minlength=256)[:N_CLASSES] for pack in packs)
    share = torch.from_numpy(np.asarray(counts / np.sum(counts), np.float32))
    weight = (share.clamp_min(0.005) * N_CLASSES) ** -0.4
    for name in ("bilabial", "labiodental"):
        weight[CLASSES.index(name)] *= _LIPS_WEIGHT
    return weight


def loss_of(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Smoothed cross-entropy over frames whose class is known."""
    return F.cross_entropy(
        logits.flatten(0, 1),
        labels.flatten(),
        weight=weight,
        ignore_index=UNKNOWN,
        label_smoothing=SMOOTHING,
    )


@torch.no_grad()
def accuracy(model: AudioEncoder, mels: Tensor, labels: Tensor) -> dict[str, float]:
    """Share of frames whose "class" and "group" are found, and the group within each group."""
    found = model(mels).argmax(-1)
    known = labels != UNKNOWN
    group_of = torch.tensor(
        [next(k for k, names in enumerate(GROUPS.values()) if name in names) for name in CLASSES],
        device=labels.device,
    )
    found, true = found[known], labels[known]
    same = group_of[found] == group_of[true]
    figures = {"class": float((found == true).float().mean()), "group": float(same.float().mean())}
    for k, name in enumerate(GROUPS):
        of_group = group_of[true] == k
        if of_group.any():
            figures[name] = float(same[of_group].float().mean())
    return figures


class Validation:
    """Fixed crops of every split kept out of training, clean; held-out voices made hard too."""

    def __init__(self, packs: list[Pack], sounds: Sounds, *, n: int = 48) -> None:
        self.sets: dict[str, tuple[Tensor, Tensor]] = {}
        state = torch.get_rng_state()
        torch.manual_seed(0)
        for split in SPLITS[1:]:
            sampler = Sampler(packs, split)
            if not len(sampler):
                continue
            source, labels = (part.to(sounds.device) for part in sampler.draw(n))
            clean = plain(source[:, :CROP_SAMPLES])
            self.sets[split] = (clean, labels[:, :CROP_LABELS])
            if split in ("voice", "engine", "speaker"):
                self.sets[f"{split}_hard"] = sounds.hard(source, labels)
        torch.set_rng_state(state)

    def __call__(self, model: AudioEncoder) -> dict[str, float]:
        """Figures by name: `language_group`, `voice_hard_bilabial` and so on."""
        model.eval()
        return {
            f"{split}_{name}": value
            for split, (mels, labels) in self.sets.items()
            for name, value in accuracy(model, mels, labels).items()
        }


def run_training(
    run: Run,
    packs: list[Pack],
    *,
    batch: int = 32,
    width: int = 160,
    rate: float = 2e-3,
    seed: int = 0,
) -> AudioEncoder:
    """Train until the run's time is over; the averaged encoder."""
    torch.manual_seed(seed)
    model = AudioEncoder(width=width).to(run.device)
    average = Average(model, decay=0.997)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    parts = {"model": model, "average": average, "optimiser": optimiser}
    run.resume(parts)
    sounds = Sounds(device=run.device)
    validation = Validation(packs, sounds)
    sampler = Sampler(packs, "train", seed=seed + run.step)
    weight = class_weights(packs).to(run.device)
    torch.manual_seed(seed + run.step)
    mean, validated_s = 0.0, run.elapsed_s
    while run.going:
        set_learning_rate(optimiser, learning_rate(run.share_done, peak=rate))
        source, labels = (part.to(run.device) for part in sampler.draw(batch))
        mels, labels = sounds.hard(source, labels)
        with run.autocast():
            logits = model(mels)
        loss = loss_of(logits, labels, weight)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model, run.step)
        run.step += 1
        latest = float(loss.detach())
        mean = latest if mean == 0 else 0.98 * mean + 0.02 * latest
        if run.step % 50 == 0:
            run.log(loss=mean)
        if run.elapsed_s - validated_s > VALIDATE_EVERY_S:
            run.log(**validation(average.module))  # type: ignore[arg-type]
            validated_s = run.elapsed_s
        run.save_if_due(parts)
    run.save(parts)
    run.log(**validation(average.module))  # type: ignore[arg-type]
    return average.module  # type: ignore[return-value]


def train(
    folder: Path,
    cache: Path,
    *,
    minutes: float,
    device: str = "cpu",
    batch: int = 32,
    width: int = 160,
    max_steps: int = 10**9,
    report: Callable[[str], None] = print,
) -> AudioEncoder:
    """Train on the packs in the folder `speech` of the cache; see speech_corpus.make."""
    packs = speech_corpus.load(cache / "speech")
    run = Run(folder, minutes, device, max_steps=max_steps, report=report)
    return run_training(run, packs, batch=batch, width=width)
