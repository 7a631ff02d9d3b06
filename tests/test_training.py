"""Every training command, from labelled clips to weights that load: the tiny preset."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageDraw

from tests.test_pipeline import sound
from vasa_cli.cli.main import main
from vasa_cli.errors import InputError, UsageError
from vasa_cli.gaze import GAZE
from vasa_cli.geometry import N_DYNAMICS, N_IDENTITY, FaceCode, Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models.decoder import Decoder
from vasa_cli.training import crops, data, shut, teacher
from vasa_cli.training import prepare as preparation
from vasa_cli.training.loop import Ahead, begin_with
from vasa_cli.training.decoder import make_team, whole_loss
from vasa_cli.training.encoder import Sampler as FaceSampler
from vasa_cli.training.pairs import (
    PairSampler,
    choices_for,
    looks,
    move_points,
    openings,
    random_affine,
)
from vasa_cli.video import VideoWriter
from vasa_cli.weights import find_weights_dir, load_weights

SIDE, N_FRAMES = 192, 30
NETWORKS = ("geometry", "detector", "encoder", "decoder", "articulator", "motion")


def drawn_points(geometry: Geometry, n_frames: int, seed: int) -> np.ndarray:
    """One invented person in motion, (T, 478, 3) pixels."""
    rng = np.random.default_rng(seed)
    code = FaceCode(
        rng.normal(size=N_IDENTITY) * 0.5, np.zeros(6), np.zeros(N_DYNAMICS), np.zeros((478, 3))
    )
    t = np.linspace(0, 6, n_frames)[:, None]
    dynamics = np.sin(t * rng.uniform(0.5, 3, N_DYNAMICS)) * 0.8
    pose = np.concatenate(
        [8 * np.sin(t * rng.uniform(0.5, 2, 3)), np.zeros((n_frames, 2)), np.ones((n_frames, 1))], 1
    )
    return (geometry.landmarks(code, head_pose=pose, dynamics=dynamics) + [1, 1, 0]) * SIDE / 2


def draw(points: np.ndarray) -> np.ndarray:
    """A picture of one face's points, in pixels."""
    canvas = Image.new("RGB", (SIDE, SIDE), (90, 120, 140))
    pen = ImageDraw.Draw(canvas)
    for x, y, _ in points:
        pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=(220, 180, 150))
    return np.asarray(canvas)


def write_labels(path: Path, cache: Path, points: np.ndarray, fps: float) -> None:
    """What the teacher would have written."""
    import io

    stem, offsets = cache / teacher.cache_stem(path), [0]
    with open(f"{stem}.frames", "wb") as pack:
        for p in points:
            buffer = io.BytesIO()
            Image.fromarray(draw(p)).save(buffer, "JPEG")
            pack.write(buffer.getvalue())
            offsets.append(offsets[-1] + len(buffer.getvalue()))
    n = len(points)
    np.savez(
        f"{stem}.npz",
        offsets=offsets,
        size=(SIDE, SIDE),
        fps=fps,
        points=points.astype(np.float32),
        found=np.ones(n, bool),
        blendshapes=np.random.default_rng(0).random((n, 52)),
        head_matrix=np.zeros((n, 4, 4)),
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder of clips with sound and portraits, and a cache with their labels."""
    folder, cache = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache")
    (cache / "labels").mkdir()
    geometry = load_geometry(find_weights_dir())
    tone = sound(folder / "tone.wav", N_FRAMES / 25)
    for k in range(6):
        path = folder / f"clip{k}.mp4"
        points = drawn_points(geometry, N_FRAMES, k)
        with VideoWriter(
            path,
            width=SIDE,
            height=SIDE,
            fps=Fraction(25),
            audio=tone,
            duration_s=N_FRAMES / 25,
            crf=20,
        ) as writer:
            for p in points:
                writer.write(draw(p))
        write_labels(path, cache / "labels", points, 25.0)
    for k in range(12):
        path = folder / f"portrait{k}.png"
        points = drawn_points(geometry, 3, 100 + k)[1:2]  # the first is at rest
        Image.fromarray(draw(points[0])).save(path)
        write_labels(path, cache / "labels", points, 0.0)
    return folder, cache


def call(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["train", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(prepared: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of every network, a few steps old."""
    folder, cache = prepared
    output = tmp_path_factory.mktemp("weights")
    for name in ("audio_encoder.safetensors", "manifest.json"):  # espeak-ng may be missing
        shutil.copy(find_weights_dir() / name, output)
    for name in NETWORKS:
        call(name, "--data", folder, "--cache", cache, "--output", output, "--preset", "tiny")
    return output


def test_labelling_starts_all_workers_however_long_the_list(tmp_path: Path) -> None:
    data_folder, waiting = tmp_path / ("d" * 80), tmp_path / "waiting"
    data_folder.mkdir()
    waiting.mkdir()
    for k in range(1600):  # each worker's share is more than a pipe holds
        (data_folder / f"{k}.png").touch()
    worker = tmp_path / "worker"
    worker.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, sys, time\n"
        f"waiting = pathlib.Path({str(waiting)!r})\n"
        "(waiting / str(os.getpid())).touch()\n"
        "ends = time.monotonic() + 20\n"
        "while len(list(waiting.iterdir())) < 2 and time.monotonic() < ends:\n"
        "    time.sleep(0.01)\n"
        "(waiting / str(os.getpid())).write_text(str(len(sys.stdin.read().split())))\n"
        "sys.exit(len(list(waiting.iterdir())) < 2)\n"
    )
    worker.chmod(0o755)
    preparation.label(
        data_folder,
        tmp_path / "cache",
        teacher_python=worker,
        model=worker,
        workers=2,
        report=lambda line: None,
    )
    assert [path.read_text() for path in waiting.iterdir()] == ["800", "800"]


def test_training_goes_on_from_weights_where_there_is_no_checkpoint() -> None:
    team = make_team(width=32, rate=1e-4, device="cpu")
    begin_with(find_weights_dir(), "decoder", team.decoder, team.average.module)
    shipped, _ = load_weights("decoder", weights_dir=find_weights_dir())
    for holder in (team.decoder, team.average.module):
        state = holder.state_dict()
        assert all(torch.equal(state[name], value.float()) for name, value in shipped.items())


def test_weights_of_another_width_are_told() -> None:
    team = make_team(width=8, rate=1e-4, device="cpu")
    with pytest.raises(UsageError, match="give --width 32"):
        begin_with(find_weights_dir(), "decoder", team.decoder, team.average.module)


def test_labels_are_found_by_folder_and_cache(prepared: tuple[Path, Path]) -> None:
    items = data.find_items(prepared[0], prepared[1] / "labels")
    assert len(items) == 18 and {i.kind for i in items} == {"real", "picture"}


def test_crops_put_the_face_where_the_renderer_does(
    trained: Path, prepared: tuple[Path, Path]
) -> None:
    stored = crops.load(prepared[1] / "portraits")
    assert stored.images.shape == (12, crops.PICTURE_SIDE, crops.PICTURE_SIDE, 3)
    height = np.linalg.norm(stored.points[:, 10] - stored.points[:, 152], axis=1)
    assert np.abs(height - 0.95).max() < 0.15


@pytest.mark.parametrize("name", NETWORKS)
def test_trained_weights_carry_their_dimensions(trained: Path, name: str) -> None:
    tensors, dims = load_weights(name, weights_dir=trained)
    assert dims and tensors


def test_training_resumes_where_it_stopped(trained: Path, prepared: tuple[Path, Path]) -> None:
    folder, cache = prepared
    options = ("--data", folder, "--cache", cache, "--output", trained, "--preset", "tiny")
    assert "resumed at step 3 " in call("encoder", *options)


def test_the_decoder_may_learn_from_points_that_the_encoder_reads(
    trained: Path, prepared: tuple[Path, Path]
) -> None:
    folder, cache = prepared
    options = ("--data", folder, "--cache", cache, "--output", trained, "--preset", "tiny")
    said = call("decoder", *options, "--read-by", find_weights_dir())
    assert "the teacher's points stay in" in said
    assert len(list(cache.glob("clips-*.npy"))) == 1


def test_mirrored_faces_have_mirrored_points(trained: Path, prepared: tuple[Path, Path]) -> None:
    import torch

    stored, mirror = crops.load(prepared[1] / "portraits"), load_geometry(trained).mirror_index()
    sampler = FaceSampler([stored], mirror, validation=False)
    images, points = sampler.draw(0, 24)
    upright = torch.from_numpy(stored.points)
    turned = upright[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])
    shown = torch.from_numpy(stored.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    kinds = set()
    for image, marks in zip(images, points):
        for kind, known, pictures in (("as is", upright, shown), ("turned", turned, shown.flip(3))):
            same = [k for k, other in enumerate(known) if torch.equal(other, marks)]
            if any(torch.equal(pictures[k], image) for k in same):
                kinds.add(kind)
                break
        else:
            pytest.fail("a picture without its points")
    assert kinds == {"as is", "turned"}


def test_pairs_are_moved_with_their_points(trained: Path, prepared: tuple[Path, Path]) -> None:
    import torch

    torch.manual_seed(0)
    affine = random_affine(3)
    points = torch.rand(3, 478, 3) - 0.5
    moved = move_points(points, affine)
    there = torch.einsum("bij,bnj->bni", affine[:, :, :2], moved[..., :2]) + affine[:, None, :, 2]
    assert torch.allclose(there, points[..., :2], atol=1e-5)


def test_pairs_come_from_one_clip_and_are_in_range(
    trained: Path, prepared: tuple[Path, Path]
) -> None:
    sampler = PairSampler(
        crops.load(prepared[1] / "clips"), load_geometry(trained), validation=False, seed=0
    )
    first, second = sampler.choose()
    assert sampler.crops.clip[first] == sampler.crops.clip[second]
    pair = sampler.draw(2)
    assert pair.photo.shape == pair.target.shape == (2, 3, crops.CLIP_SIDE, crops.CLIP_SIDE)
    assert pair.photo.abs().max() <= 1


@pytest.mark.parametrize("how, angle", [("turned", "turn"), ("nodded", "nod"), ("looked", "look")])
def test_pairs_may_be_chosen_for_how_head_and_eyes_are_held(
    trained: Path, prepared: tuple[Path, Path], how: str, angle: str
) -> None:
    clips = crops.load(prepared[1] / "clips")
    chosen, any_of = (
        PairSampler(clips, load_geometry(trained), validation=False, seed=0, choices=[(how, 1.0)])
        for how in (how, "any")
    )

    def change(sampler: PairSampler) -> float:
        pairs = [sampler.choose() for _ in range(60)]
        held = getattr(sampler, angle)
        return float(np.mean([abs(held[a] - held[b]) for a, b in pairs]))

    assert change(chosen) > 1.3 * change(any_of)


def test_irises_are_seen_to_look_aside(trained: Path) -> None:
    geometry = load_geometry(trained)
    change = np.zeros((2, N_DYNAMICS))
    change[1, GAZE[0]] = 2.0
    ahead, right = looks(geometry.mean + geometry.displacement(change))
    assert abs(ahead) < 0.01 and 0.02 < right < 0.2


def test_eyes_that_are_trained_alone_see_more_that_look_aside() -> None:
    shares = [dict(choices_for(parts)) for parts in (("eye",), ("mouth", "eye"), ("motion", "eye"))]
    assert shares[0]["looked"] > 0.3 and not any("looked" in some for some in shares[1:])
    assert all(abs(sum(some.values()) - 1) < 1e-9 for some in shares)


def test_the_field_is_judged_by_looks_where_the_camera_saw(
    trained: Path, prepared: tuple[Path, Path]
) -> None:
    import torch

    class Judge:
        """Sees the mean difference of two pictures."""

        def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a - b).abs().mean((1, 2, 3)).float()

    clips, geometry = crops.load(prepared[1] / "clips"), load_geometry(trained)
    pair = PairSampler(clips, geometry, validation=False, seed=0).draw(2)
    model = Decoder(width=8).eval()
    with torch.no_grad():
        seen = model.look(pair.photo, pair.source)
        field = model.move(seen, pair.points)
        judge: Any = Judge()

        def judged(valid: torch.Tensor) -> float:
            part = replace(pair, valid=valid)
            both = [float(whole_loss(seen, part, field, who)) for who in (judge, None)]
            return both[0] - both[1]

        everywhere, nowhere = torch.ones_like(pair.valid), torch.zeros_like(pair.valid)
        assert judged(everywhere) > 1e-3
        assert judged(nowhere) == pytest.approx(0.0, abs=1e-6)


def test_validation_is_by_person() -> None:
    keys = {
        data.person_key("a", Path(f"london_007_{mood}.webp")) for mood in ("neutral", "smiling")
    }
    assert len(keys) == 1
    assert 0.05 < np.mean([data.is_validation(f"x{k}") for k in range(2000)]) < 0.15


def test_a_folder_without_pictures_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["train", "geometry", "--data", str(tmp_path), "--cache", str(tmp_path)]
    )
    assert result.exit_code == 3 and "no video or picture" in result.output


def test_portraits_that_show_teeth_are_there_with_their_lips_shut(
    trained: Path, prepared: tuple[Path, Path]
) -> None:
    portraits, made = crops.load(prepared[1] / "portraits"), shut.load(prepared[1] / "shut")
    mouths, _ = openings(portraits.points)
    assert set(made.rows) == set(np.flatnonzero((mouths > shut.OPEN_FROM) & ~portraits.validation))
    assert len(made.rows) > 0
    assert openings(made.points)[0].max() < 0.3 * mouths[made.rows].max()
    assert made.images.shape == (len(made.rows), *portraits.images.shape[1:])


def test_pictures_with_shut_lips_are_to_become_the_open_ones(
    trained: Path, prepared: tuple[Path, Path]
) -> None:
    portraits, made = crops.load(prepared[1] / "portraits"), shut.load(prepared[1] / "shut")
    sampler = PairSampler(portraits, load_geometry(trained), validation=False, seed=0, shut=made)
    pair = sampler.draw(12)
    before, after = (openings(points.numpy())[0] for points in (pair.source, pair.points))
    assert (after > before + 0.01).sum() >= 4  # three in four are shut ones


def test_pictures_with_shut_lips_may_become_parted_ones(
    trained: Path, prepared: tuple[Path, Path]
) -> None:
    portraits, made = crops.load(prepared[1] / "portraits"), shut.load(prepared[1] / "shut")
    decoder, geometry = Decoder(width=8).eval(), load_geometry(trained)
    target = prepared[1] / "spoken"
    shut.build(decoder, portraits, openings(portraits.points)[0], geometry, target, shut.speaking)
    spoken = shut.load(target)
    assert np.array_equal(spoken.rows, made.rows)
    assert (openings(spoken.points)[0] > openings(made.points)[0] + 0.003).all()
    sampler = PairSampler(portraits, geometry, validation=False, seed=0, shut=made, spoken=spoken)
    drawn = np.concatenate([openings(sampler.draw(8).points.numpy())[0] for _ in range(3)])
    known = np.concatenate([openings(x)[0] for x in (spoken.points, portraits.points)])
    assert all(np.abs(known - opening).min() < 0.02 for opening in drawn)


def test_batches_drawn_ahead_come_in_order_and_faults_are_raised() -> None:
    numbers = iter((1, 2, 3))

    def draw() -> int:
        number = next(numbers, None)
        if number is None:
            raise InputError("no more")
        return number

    with Ahead(draw) as ahead:
        assert [ahead.next() for _ in range(3)] == [1, 2, 3]
        with pytest.raises(InputError, match="no more"):
            ahead.next()
