"""Composed pictures, the detector's targets, and a tiny training run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.models.detector import FaceDetector, decode_boxes
from vasa_cli.training import crops, detector, heads, scenes
from vasa_cli.training.scenes import Canvas, Composer, Placement

SIDE = 64
N_PORTRAITS = 6


def write_crops(target: Path, *, seed: int) -> None:
    """Green squares with a red disc where the face's points lie around."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-0.1, 0.1, (N_PORTRAITS, 2))
    ring = np.linspace(0, 2 * np.pi, 478, endpoint=False)
    points = np.zeros((N_PORTRAITS, 478, 3), np.float32)
    points[:, :, :2] = centre[:, None] + 0.45 * np.stack([np.sin(ring), np.cos(ring)], -1)
    points[:, :468, :2] += (centre - points[:, :468, :2].mean(1))[:, None]
    points[:, 10, :2], points[:, 152, :2] = centre - [0, 0.45], centre + [0, 0.45]
    line = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    x, y = np.meshgrid(line, line)
    middle = points[:, :468, :2].mean(1)
    disc = np.hypot(x - middle[:, :1, None], y - middle[:, 1:, None]) < 0.3
    images = np.where(disc[..., None], (250, 0, 0), (0, 200, 0)).astype(np.uint8)
    np.save(target.with_suffix(".npy"), images)
    np.savez(
        target.with_suffix(".npz"),
        points=points,
        valid=np.tile(np.float32([-1.2, -1.2, 1.2, 1.2]), (N_PORTRAITS, 1)),
        clip=np.arange(N_PORTRAITS),
        validation=np.arange(N_PORTRAITS) % 3 == 2,
        real=np.ones(N_PORTRAITS, bool),
        face_px=np.full(N_PORTRAITS, 30, np.float32),
        names=json.dumps([f"{k}.png" for k in range(N_PORTRAITS)]),
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for seed, name in enumerate(("portraits", "clips")):
        write_crops(tmp_path / name, seed=seed)
    return tmp_path


@pytest.fixture
def composer(cache: Path) -> Composer:
    return Composer(heads.read_pool(crops.load(cache / "portraits"), crops.load(cache / "clips")))


def red_centre(image: np.ndarray) -> np.ndarray:
    """Centre of the red disc, x then y in pixels."""
    red = np.clip(image[..., 0].astype(float) - image[..., 1], 0, None)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(red * x).sum(), (red * y).sum()]) / red.sum()


def test_targets_are_what_decode_boxes_reads() -> None:
    faces = np.float32([[20.3, 30.9, 12.0], [128.0, 200.1, 60.0], [240.0, 60.0, 33.3]])
    targets = detector.targets_of(faces, np.zeros((0, 3), np.float32))
    score = torch.logit(targets.heat.clamp(1e-6, 1 - 1e-6))[None]
    (boxes,) = decode_boxes(torch.cat([score, targets.values])[None], threshold=0.9)
    order = boxes[:, 0].argsort()
    np.testing.assert_allclose(boxes[order, :3], faces[[0, 1, 2]], rtol=1e-4)


def test_every_cell_near_a_face_tells_the_same_face() -> None:
    targets = detector.targets_of(np.float32([[100.0, 90.0, 150.0]]), np.zeros((0, 3), np.float32))
    rows, columns = torch.nonzero(targets.heat > detector.NEAR_HEAT, as_tuple=True)
    assert len(rows) > 4
    x = (columns + 0.5 + targets.values[1, rows, columns]) * 8
    y = (rows + 0.5 + targets.values[2, rows, columns]) * 8
    assert torch.allclose(x, torch.tensor(100.0)) and torch.allclose(y, torch.tensor(90.0))


def test_heads_that_are_missed_are_drawn_more(composer: Composer) -> None:
    composer.weigh([np.where(np.arange(len(p)) == 1, 0.0, 1.0) for p in composer.pool])
    drawn = [composer.head() for _ in range(400)]
    missed = np.mean([any(head is p[1] for p in composer.pool) for head in drawn])
    n_heads = len(composer.pool[0])
    assert missed == pytest.approx(1 / (1 + scenes.EASY_WEIGHT * (n_heads - 1)), abs=0.1)


def test_a_hood_leaves_the_face_and_covers_what_is_around_it(composer: Composer) -> None:
    head = composer.pool[0][0]
    worn = heads.hooded(head, np.random.default_rng(0))
    changed = (worn.image != head.image).any(-1)
    line = (np.arange(len(changed)) + 0.5) / len(changed) * 2 - 1
    x, y = line[None] - head.centre[0], line[:, None] - head.centre[1]
    away = np.hypot(x, y) / (head.height / 2)
    assert not changed[away < 0.75].any()
    assert changed[(away > 1.15) & (away < 1.25) & (y < 0)].mean() > 0.9


def test_long_clips_have_more_heads_but_not_all(cache: Path) -> None:
    stored = crops.load(cache / "clips")
    clip = np.repeat(np.arange(11), [100] + [4] * 10)
    made = dataclasses.replace(stored, clip=clip, validation=np.zeros(len(clip), bool))
    rows = heads.spread_rows(made, 60)
    counts = np.bincount(clip[rows], minlength=11)
    assert counts[0] == pytest.approx(20, abs=3) and set(counts[1:]) <= {3, 4}


def test_ignored_faces_weigh_nothing() -> None:
    none, hidden = np.zeros((0, 3), np.float32), np.float32([[100.0, 100.0, 40.0]])
    targets = detector.targets_of(none, hidden)
    assert targets.counted[12, 12] == 0 and targets.counted[0, 0] == 1
    assert targets.heat.max() == 0


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("edge", ["head", "square"])
@pytest.mark.parametrize("height", [14.0, 70.0, 160.0])
def test_a_pasted_face_lies_where_it_is_said_to_lie(
    composer: Composer, height: float, edge: str, mirrored: bool
) -> None:
    canvas = Canvas(np.zeros((256, 256, 3), np.uint8))
    at = Placement(120.3, 133.6, height, 0.5, mirrored)
    canvas.paste(composer.head(), at, edge=edge, soft=0.0, target=True)
    np.testing.assert_allclose(red_centre(canvas.image), [at.x, at.y], atol=1.0)
    red = (canvas.image[..., 0] > 125).sum()
    assert 2 * np.sqrt(red / np.pi) == pytest.approx(0.6 / 0.9 * height, rel=0.08, abs=1.0)


def test_a_face_that_fills_the_picture_lies_where_it_is_said_to_lie(
    composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "HOODED_SHARE", 0.0)  # hoods may be red
    for _ in range(20):
        canvas = Canvas(np.zeros((256, 170, 3), np.uint8))
        composer.fill(canvas)
        scene = canvas.scene()
        x, y, height = scene.faces[0]
        assert height > 60
        assert (scene.image[:, 170:] == scenes.GREY).all()
        reach = 0.4 * height
        if reach < x < 170 - reach and reach < y < 256 - reach:
            np.testing.assert_allclose(red_centre(scene.image[:, :170]), [x, y], atol=1.0)


@pytest.mark.parametrize("n_faces", [0, 1])
def test_a_scene_has_the_faces_asked_for(composer: Composer, n_faces: int) -> None:
    for _ in range(25):
        scene = composer.scene(n_faces)
        assert len(scene.faces) == n_faces
        assert (scene.faces[:, :2] >= 0).all()
        assert (scene.faces[:, :2] <= np.array(scene.extent)[::-1]).all()


def test_scenes_of_several_faces_rarely_have_fewer(composer: Composer) -> None:
    counts = [len(composer.scene(3).faces) for _ in range(25)]
    assert max(counts) == 3 and np.mean(counts) > 2.5


def test_a_covered_face_is_no_target(composer: Composer) -> None:
    canvas = Canvas(np.zeros((256, 256, 3), np.uint8))
    for height in (30.0, 120.0):
        at = Placement(128, 128, height)
        canvas.paste(composer.head(), at, edge="square", soft=0.0, target=True)
    assert canvas.faces == [(128, 128, 120.0)]


def test_a_face_too_small_to_recognise_is_ignored(composer: Composer) -> None:
    canvas = Canvas(np.zeros((256, 256, 3), np.uint8))
    canvas.paste(composer.head(), Placement(50, 50, 8.0), edge="head", soft=0.0, target=True)
    assert not canvas.faces and len(canvas.ignored) == 1


def test_the_pool_leaves_validation_out(composer: Composer) -> None:
    assert [len(heads) for heads in composer.pool] == [N_PORTRAITS - 2] * 2


def test_a_batch_keeps_the_grey_beside_letterboxed_pictures(composer: Composer) -> None:
    drawn = [composer.scene() for _ in range(4)]
    pictures, targets = detector.to_batch(drawn)
    assert pictures.shape == (4, 3, 256, 256) and pictures.abs().max() <= 1
    for picture, scene, heat in zip(pictures, drawn, targets.heat):
        assert (picture[:, scene.extent[0] :] == scenes.GREY / 127.5 - 1).all()
        assert (picture[:, :, scene.extent[1] :] == scenes.GREY / 127.5 - 1).all()
        assert int((heat == 1).sum()) == len(scene.faces)


def test_loss_falls_on_one_batch(composer: Composer) -> None:
    torch.manual_seed(0)
    pictures, targets = detector.to_batch([composer.scene(1) for _ in range(4)], distorted=False)
    model = FaceDetector(width=8)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = detector.loss_of(model(pictures), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_training_resumes_from_its_folder(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for max_steps in (2, 3):
        model = detector.train(
            folder, cache, minutes=1, device="cpu", batch=4, width=8, max_steps=max_steps
        )
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 3
    assert model.dims == {"width": 8}


class Fixed(FaceDetector):
    """Reports one face of 122 pixels in the middle of every picture, or none."""

    def __init__(self, score: float) -> None:
        super().__init__(width=8)
        self.score = score

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        targets = detector.targets_of(np.float32([[128, 128, 115]]), np.zeros((0, 3), np.float32))
        maps = torch.cat([torch.full((1, 32, 32), -9.0), targets.values])
        maps[0, 16, 16] = self.score
        return maps.expand(len(picture), 4, 32, 32)


def test_evaluation_counts_found_and_false_faces(cache: Path) -> None:
    portraits = crops.load(cache / "portraits")
    empty = [np.zeros((40, 90, 3), np.uint8)] * 3
    seeing = detector.evaluate(Fixed(5.0), portraits, empty)
    assert seeing.recall == seeing.stylised_recall == 1 and seeing.false_per_picture == 1
    assert 0 < seeing.centre_error < 0.25 and seeing.size_error < 0.05
    assert seeing.extra_per_picture == 0 and seeing.n_pictures == 2
    blind = detector.evaluate(Fixed(-5.0), portraits, empty)
    assert blind.recall == 0 and blind.false_per_picture == 0
