"""Train the decoder: pairs of frames of one clip, the first moved to look like the second."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasa_cli.face import FaceReader
from vasa_cli.geometry import Geometry
from vasa_cli.loading import fast_bf16
from vasa_cli.models import fields
from vasa_cli.models.blocks import channels_last, channels_last_weights, conv
from vasa_cli.models.decoder import Appearance, Decoder
from vasa_cli.models.moved import MotionField, sample_moved
from vasa_cli.models.painting import (
    EYES,
    EYE_SIDE,
    MOUTH_SIDE,
    Painted,
    eye_shape,
    mouth_shape,
    resized,
)
from vasa_cli.models.layers import N_MAPS, Shape
from vasa_cli.training import loop, shut
from vasa_cli.training.features import FaceFeatures, load_features
from vasa_cli.training.loop import Ahead, Average, Run
from vasa_cli.training.pairs import Pair, PairSampler, choices_for
from vasa_cli.training.reread import load_all

WHOLE_SIDE = 160  # pixels at which the moved photo as a whole is compared
PARTS = ("motion", "mouth", "eye")
LOSS_WEIGHTS = {"whole": 2.0, "mouth": 1.5, "left": 0.5, "right": 0.5}
PERCEPTUAL = {"whole": 0.5, "mouth": 1.0, "left": 0.9, "right": 0.9}
OPEN_WEIGHT = 3.0  # of what opens, besides 1 for all pixels
GAN_WEIGHT, MATCHING_WEIGHT = 0.1, 0.4
DETAIL_GAIN = 6.0  # of what the critic sees of fine detail
SKIN_OPINION = 0.05  # weight of a critic's opinion where nothing opens, 1 where it does
GAN_RAMP = 0.05  # share of the run over which the critics are let in
GAN_STARTS = 0.35  # share of the run after which the discriminators join
SPOKEN_FROM = 3000  # steps after which a resumed run teaches itself mouths that speak
PICTURES_EVERY = 3  # one step in so many trains on pictures: mouths only, and under the critic
PICTURE_BATCH = 0.75  # of a batch of clips: pictures are larger


class PatchDiscriminator(nn.Module):
    """A crop with its maps to a map of realness, (B, 1, s / 8, s / 8), and its inner maps.

    Fine detail is shown to it enlarged as well: without, its loss on pictures kept out stayed at
    0.92 where with it 0.22 was reached in 42 steps, and teeth stayed a band without edges.
    """

    def __init__(self, n_maps: int, *, width: int = 48) -> None:
        super().__init__()
        w = width
        self.layers = nn.ModuleList(
            [conv(24 + n_maps, w), conv(w, 2 * w, stride=2), conv(2 * w, 3 * w, stride=2)]
        )
        self.leave = nn.Conv2d(3 * w, 1, 3, 1, 1)

    def forward(self, picture: Tensor, maps: Tensor) -> tuple[Tensor, list[Tensor]]:
        both = torch.cat([picture, DETAIL_GAIN * laplacian(picture)], 1)
        x = channels_last(torch.cat([F.pixel_unshuffle(both, 2), maps], 1))
        inner = []
        for layer in self.layers:
            x = layer(x)
            inner.append(x)
        return self.leave(x).float(), inner


@dataclass(frozen=True)
class Crop:
    """One local generator's work beside the truth, at the generator's own size."""

    made: Tensor  # (B, 3, s, s)
    layered: Tensor  # (B, 3, s, s)
    change: Tensor  # (B, 3, s, s)
    truth: Tensor  # (B, 3, s, s)
    valid: Tensor  # (B, 1, s, s)
    maps: Tensor  # (B, N_MAPS, s / 2, s / 2), the last of them 1 where it is open

    @classmethod
    def of(cls, painted: Painted, shape: Shape, pair: Pair, side: int) -> Crop:
        columns = shape.columns(side // 2)
        return cls(
            resized(painted.composed, side),
            resized(painted.layered, side),
            resized(painted.change, side),
            shape.patch.cut(pair.target, side),
            F.grid_sample(pair.valid, shape.patch.grid(side), align_corners=False),
            shape.maps(columns, shape.opening(columns)),
        )


def laplacian(image: Tensor) -> Tensor:
    """What a blur takes away, (B, 3, H, W)."""
    return image - F.interpolate(
        F.avg_pool2d(image, 2), scale_factor=2.0, mode="bilinear", align_corners=False
    )


def masked_mean(error: Tensor, weight: Tensor) -> Tensor:
    """The mean of errors (B, C, H, W) where the weight (B, 1, H, W) is not 0."""
    return (error * weight).sum() / (weight.sum() * error.shape[1]).clamp_min(1.0)


def draw_crops(
    decoder: Decoder, seen: Appearance, pair: Pair, field: MotionField, parts: tuple[str, ...]
) -> dict[str, Crop]:
    """Those of mouth, left eye and right eye of a batch whose generators are in training."""
    found = {}
    if "mouth" in parts:
        painted = decoder.paint_mouth(seen, pair.points, field)
        found["mouth"] = Crop.of(painted, mouth_shape(pair.points), pair, MOUTH_SIDE)
    if "eye" in parts:
        for name, painted in zip(EYES, decoder.paint_eyes(seen, pair.points, field)):
            found[name] = Crop.of(painted, eye_shape(pair.points, name), pair, EYE_SIDE)
    return found


def crop_loss(crop: Crop, judge: FaceFeatures | None, *, perceptual: float) -> Tensor:
    """L1, Laplacian and perceptual distance of what is composed; needless changes cost.

    What opens counts most: it is what the layers cannot know.
    """
    made, truth = crop.made, crop.truth
    whole_valid = crop.valid.mean((1, 2, 3), keepdim=True) > 0.98
    opening = resized(F.max_pool2d(crop.maps[:, -1:], 5, 1, 2), made.shape[-1])
    weight = crop.valid * (1 + OPEN_WEIGHT * opening)
    loss = masked_mean((made - truth).abs(), weight)
    loss = loss + 1.5 * masked_mean((laplacian(made) - laplacian(truth)).abs(), weight)
    needless = crop.change.abs() * torch.exp(-20 * (crop.layered - truth).abs())
    loss = loss + 0.05 * needless.mean()
    if judge is None:
        return loss
    distance = judge.distance(channels_last(made), channels_last(truth))
    return loss + perceptual * (distance * whole_valid.flatten()).mean()


def whole_loss(
    seen: Appearance, pair: Pair, field: MotionField, judge: FaceFeatures | None
) -> Tensor:
    """L1, Laplacian and perceptual distance of the moved photo; bending flows cost.

    The face counts most. Without the distance, what is uncertain is blurred: hair most of all.
    """
    side = (WHOLE_SIDE, WHOLE_SIDE)
    grid = fields.pixel_grid(WHOLE_SIDE, pair.photo.device).expand(len(pair.photo), -1, -1, -1)
    moved = sample_moved(seen.photo, field, grid)
    truth = F.interpolate(pair.target, size=side, mode="area")
    seen_by_camera = F.interpolate(pair.valid, size=side, mode="area")
    near = fields.candidate_flows(pair.source, pair.points, 32, (0.08,))[1]
    near = F.interpolate(near, size=side, mode="bilinear", align_corners=False)
    weight = seen_by_camera * (1 + 2 * near)
    loss = masked_mean((moved - truth).abs(), weight)
    loss = loss + masked_mean((laplacian(moved) - laplacian(truth)).abs(), weight)
    across = (field.flow[..., 1:] - field.flow[..., :-1]).abs().mean()
    bend = across + (field.flow[..., 1:, :] - field.flow[..., :-1, :]).abs().mean()
    loss = loss + 0.05 * bend + 0.005 * field.hidden.mean()
    if judge is None:
        return loss
    shown = truth + (moved - truth) * seen_by_camera
    with loop.autocast(moved.device):
        distance = judge.distance(channels_last(shown), channels_last(truth))
    return loss + PERCEPTUAL["whole"] * distance.mean()


def opinion(score: Tensor, maps: Tensor) -> Tensor:
    """Means (B,) of a critic's scores (B, 1, h, w), by what opens in the maps (B, n, H, W).

    Most of a crop is skin that the layers bring unchanged: it would drown the teeth.
    """
    opening = F.adaptive_max_pool2d(maps[:, -1:], score.shape[2:])
    weight = F.max_pool2d(opening, 3, 1, 1) + SKIN_OPINION
    return (score * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))


def hinge(score: Tensor, maps: Tensor, *, real: bool) -> Tensor:
    """A critic's loss on the scores of real or of drawn crops."""
    return opinion(F.relu(1 - score if real else 1 + score), maps).mean()


@dataclass
class Team:
    """The decoder, the critic of its mouths and their optimisers."""

    decoder: Decoder
    average: Average
    critic: nn.Module
    optimiser: torch.optim.Optimizer
    critic_optimiser: torch.optim.Optimizer

    def parts(self) -> dict[str, object]:
        return {
            "decoder": self.decoder,
            "average": self.average,
            "critic": self.critic,
            "optimiser": self.optimiser,
            "critic_optimiser": self.critic_optimiser,
        }


def make_team(*, width: int, rate: float, device: str) -> Team:
    """A decoder with fresh weights, its critic and their optimisers, on a device."""
    decoder = channels_last_weights(Decoder(width=width)).to(device)
    decoder.bf16 = fast_bf16(torch.device(device))
    critic = channels_last_weights(PatchDiscriminator(N_MAPS)).to(device)
    return Team(
        decoder,
        Average(decoder, decay=0.995),
        critic,
        torch.optim.AdamW(decoder.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01),
        torch.optim.AdamW(critic.parameters(), lr=rate, betas=(0.5, 0.99), weight_decay=0.01),
    )


def step(
    team: Team,
    pair: Pair,
    judge: FaceFeatures | None,
    run: Run,
    *,
    gan: float,
    parts: tuple[str, ...] = PARTS,
) -> dict[str, float]:
    """One update of the parts in training and, when the GAN is on, of the critic.

    Returns: the figures for the log.
    """
    seen = team.decoder.look(pair.photo, pair.source)
    losses: dict[str, Tensor] = {}
    with torch.set_grad_enabled("motion" in parts):
        field = team.decoder.move(seen, pair.points)
        if "motion" in parts:
            losses["whole"] = whole_loss(seen, pair, field, judge)
    drawn = draw_crops(team.decoder, seen, pair, field, parts)
    weights = dict(LOSS_WEIGHTS)
    with run.autocast():
        for name, crop in drawn.items():
            losses[name] = crop_loss(crop, judge, perceptual=PERCEPTUAL[name])
            if gan > 0 and name == "mouth":
                fool, match = fooling(team.critic, crop)
                losses[f"fool_{name}"], losses[f"match_{name}"] = fool, match
                weights[f"fool_{name}"] = gan * GAN_WEIGHT * LOSS_WEIGHTS[name]
                weights[f"match_{name}"] = gan * MATCHING_WEIGHT * LOSS_WEIGHTS[name]
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    team.optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(team.decoder.parameters(), 1.0)
    team.optimiser.step()
    figures = {name: float(value.detach()) for name, value in losses.items()}
    if gan > 0 and "mouth" in drawn:
        figures["critic"] = teach_critic(team, drawn["mouth"], run)
    return figures


def fooling(critic: nn.Module, crop: Crop) -> tuple[Tensor, Tensor]:
    """How far a critic is from believing drawn crops, and how far its inner maps are from real."""
    critic.requires_grad_(False)
    score, ours = critic(crop.made, crop.maps)
    with torch.no_grad():
        theirs = critic(crop.truth, crop.maps)[1]
    critic.requires_grad_(True)
    valid = crop.valid.mean((1, 2, 3)) > 0.98
    match = sum(
        (opinion((a - b).abs().mean(1, keepdim=True).float(), crop.maps) * valid).mean()
        for a, b in zip(ours, theirs)
    )
    return -opinion(score, crop.maps).mean(), torch.as_tensor(match)


def teach_critic(team: Team, crop: Crop, run: Run) -> float:
    """Hinge loss on real and drawn mouths; those beyond the camera's view are not shown."""
    keep = crop.valid.mean((1, 2, 3)) > 0.98
    if keep.sum() < 2:
        return 0.0
    maps = crop.maps[keep]
    with run.autocast():
        real = hinge(team.critic(crop.truth[keep], maps)[0], maps, real=True)
        drawn = hinge(team.critic(crop.made.detach()[keep], maps)[0], maps, real=False)
    team.critic_optimiser.zero_grad()
    loss = (real + drawn) / 2
    loss.backward()
    team.critic_optimiser.step()
    return float(loss.detach())


def start_afresh(team: Team, names: tuple[str, ...]) -> None:
    """Forget what some parts have learned."""
    fresh = Decoder(width=team.decoder.width)
    for name in names:
        for holder in (team.decoder, team.average.module):
            getattr(holder, name).load_state_dict(getattr(fresh, name).state_dict())
        for parameter in getattr(team.decoder, name).parameters():
            team.optimiser.state.pop(parameter, None)


def train(
    folder: Path,
    cache: Path,
    geometry: Geometry,
    *,
    judge: Path | None,
    minutes: float,
    device: str,
    batch: int,
    width: int,
    rate: float = 5e-4,
    gan_starts: float = GAN_STARTS,
    parts: tuple[str, ...] = PARTS,
    afresh: tuple[str, ...] = (),
    begin: Path | None = None,
    reader: FaceReader | None = None,
    report: Callable[[str], None] = print,
    max_steps: int = 10**9,
) -> Decoder:
    """Train until the time is over; the averaged decoder.

    Args: parts: which of motion field, mouth and eye are trained, the others stay as they are;
        afresh: which begin anew; begin: weights to go on from where there is no checkpoint; reader,
        whose points are learned from instead of the teacher's.
    Raises: InputError when the judge's checkpoint or the crops are missing; as `Run.begin_with`.
    """
    run = Run(folder, minutes, device, report=report, max_steps=max_steps)
    team = make_team(width=width, rate=rate, device=device)
    run.begin_with(begin, "decoder", team.decoder, team.average.module)
    run.resume(team.parts())
    start_afresh(team, afresh)
    features = channels_last_weights(load_features(judge)).to(device) if judge else None
    choices = choices_for(parts)
    pictures, clips = (
        PairSampler(c, geometry, validation=False, seed=run.step, choices=choices)
        for c in load_all(cache, reader, report)
    )
    if "mouth" in parts:
        teach_mouths(team, pictures, geometry, cache, speaks=bool(begin) or run.step >= SPOKEN_FROM)
    means: dict[str, float] = {}
    drawn_steps = count(run.step)

    def draw() -> Pair:
        if on_pictures(next(drawn_steps)) and "mouth" in parts:
            return pictures.draw(max(1, round(batch * PICTURE_BATCH)))
        return clips.draw(batch)

    with Ahead(draw) as pairs:
        while run.going:
            done = run.share_done
            for optimiser in (team.optimiser, team.critic_optimiser):
                loop.set_learning_rate(optimiser, loop.learning_rate(done, peak=rate))
            pair = to_device(pairs.next(), device)
            gan, chosen = 0.0, parts
            if on_pictures(run.step) and "mouth" in parts:
                gan, chosen = min(1.0, max(0.0, done - gan_starts) / GAN_RAMP), ("mouth",)
            for key, value in step(team, pair, features, run, gan=gan, parts=chosen).items():
                means[key] = 0.97 * means.get(key, value) + 0.03 * value
            team.average.update(team.decoder, run.step)
            run.step += 1
            if run.step % 25 == 0:
                run.log(**means)
            run.save_if_due(team.parts())
    run.save(team.parts())
    return team.average.module  # type: ignore[return-value]


def teach_mouths(
    team: Team, pictures: PairSampler, geometry: Geometry, cache: Path, *, speaks: bool
) -> None:
    """Give pictures their mouths shut and, once the decoder can draw that, speaking."""
    told = (pictures.crops, pictures.mouth, geometry)
    if not (cache / "shut.npy").exists():
        shut.build(team.decoder, *told, cache / "shut")
    if speaks and not (cache / "spoken.npy").exists():
        average: Decoder = team.average.module  # type: ignore[assignment]
        shut.build(average, *told, cache / "spoken", shut.speaking)
    pictures.shut = shut.load(cache / "shut")
    pictures.spoken = shut.load(cache / "spoken") if (cache / "spoken.npy").exists() else None


def on_pictures(step_number: int) -> bool:
    """Whether a step trains on pictures instead of clips.

    The critic sees pictures only. The clips' crops are enlarged and soft: there it could not tell
    drawn from real, its loss stayed at chance, and teeth stayed a band without edges.
    """
    return step_number % PICTURES_EVERY == PICTURES_EVERY - 1


def to_device(pair: Pair, device: str) -> Pair:
    """The same batch on another device."""
    return Pair(
        *(x.to(device) for x in (pair.photo, pair.source, pair.target, pair.points, pair.valid))
    )
