"""Following a face: cuts, faces that go and come back, several faces, copies of frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.films import nothing
from vasa_cli.detection import Detection
from vasa_cli.errors import InputError, UsageError
from vasa_cli.face import FaceReader
from vasa_cli.geometry import FaceCode
from vasa_cli.squares import Window
from vasa_cli.track import BATCH, Track, track

SIDE = 96
RED, GREEN = (230, 30, 30), (30, 230, 30)


def scene(*faces: tuple[float, float, tuple[int, int, int]], shade: int = 40) -> np.ndarray:
    """A plain picture with discs for faces: x, y, colour."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.full((SIDE, SIDE, 3), shade, np.uint8)
    for at_x, at_y, colour in faces:
        image[(x - at_x) ** 2 + (y - at_y) ** 2 < 10**2] = colour
    return image


class DiscReader:
    """Reads discs as the real reader reads faces: 478 points on a cross around the middle."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.n_searches = 0
        cross = np.random.default_rng(0).uniform(-1, 1, (478, 3)) * [8, 8, 0]
        cross -= cross[:468].mean(0)
        cross[10], cross[152] = [0, -10, 0], [0, 10, 0]
        self.cross = cross

    def detect(self, image: np.ndarray) -> list[Detection]:
        self.n_searches += 1
        found = []
        for colour in (RED, GREEN):
            y, x = np.nonzero((np.abs(image.astype(int) - colour) < 60).all(-1))
            if len(x) > 30:
                found.append(Detection(x.mean(), y.mean(), 20.0, 1.0))
        return sorted(found, key=lambda face: face.x)

    def read_points(self, image: np.ndarray, face: Detection) -> np.ndarray:
        return self.cross + [face.x, face.y, 0]

    def read_face(self, pictures: torch.Tensor, square: Any) -> torch.Tensor:
        points = []
        for k, picture in enumerate(pictures):
            bright = (picture.amax(0) > 0.5).float()
            line = (torch.arange(bright.shape[-1]) + 0.5) / bright.shape[-1] * 2 - 1
            if float(bright.sum()) < 1:
                middle = square.affine[k, :, 2]
            else:
                middle = torch.stack([(bright.sum(d) * line).sum() / bright.sum() for d in (0, 1)])
            cross = torch.from_numpy(self.cross).float() / 24  # half of the region, 2.4 x 20
            points.append(cross + torch.cat([middle, torch.zeros(1)]))
        return torch.stack(points)

    def refine(self, pictures: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return points

    def sees(self, pictures: torch.Tensor, points: torch.Tensor) -> np.ndarray:
        return np.array([float((p.amax(0) > 0.5).float().sum()) > 30 for p in pictures])

    def window(self, points: np.ndarray) -> Window:
        return Window(*points[:468, :2].mean(0), 24.0)

    def fit(self, points: np.ndarray, window: Window) -> FaceCode:
        return FaceCode(np.zeros(1), np.zeros(6), np.zeros(1), np.zeros((478, 3)))


def follow(frames: list[np.ndarray], **options: Any) -> tuple[Track, DiscReader]:
    reader = DiscReader()
    typed: FaceReader = reader  # type: ignore[assignment]
    return track(frames, typed, **options), reader


def middles(found: Track) -> np.ndarray:
    return found.points[:, :468, :2].mean(1)


def test_a_face_is_followed_and_searched_for_once() -> None:
    frames = [scene((30 + k, 40, RED)) for k in range(3 * BATCH + 3)]
    found, reader = follow(frames)
    assert found.found.all() and not found.repeated.any() and found.cuts == ()
    assert reader.n_searches == 1
    assert np.abs(middles(found) - [[30 + k, 40] for k in range(len(frames))]).max() < 1.0


def test_points_are_scaled_to_the_films_picture() -> None:
    small, _ = follow([scene((30, 40, RED))] * 2)
    large, _ = follow([scene((30, 40, RED))] * 2, scale=2.5)
    assert np.allclose(large.points, 2.5 * small.points, rtol=1e-5)


def test_a_face_that_goes_is_missing_and_found_again() -> None:
    frames = [scene((30, 40, RED))] * 10 + [scene()] * 12 + [scene((60, 50, RED))] * 10
    found, reader = follow(frames)
    missing = np.flatnonzero(~found.found)
    assert missing[0] == 10 and 20 <= missing[-1] <= 26  # it is looked for every few frames
    assert np.abs(middles(found)[-1] - [60, 50]).max() < 1
    assert reader.n_searches < 8


def test_a_film_that_begins_without_a_face() -> None:
    found, _ = follow([scene()] * 7 + [scene((30, 40, RED))] * 9)
    assert not found.found[:7].any() and found.found[-5:].all()


def test_a_cut_begins_a_shot_and_a_flash_does_not() -> None:
    first = [scene((30 + k, 40, RED)) for k in range(12)]
    second = [scene((60 + k, 60, RED), shade=200) for k in range(12)]
    found, _ = follow(first + second)
    assert found.cuts == (12,) and found.found.all()
    assert [(s.start, s.stop) for s in found.shots] == [(0, 12), (12, 24)]
    flash = [scene((42, 40, RED), shade=200)]
    later = [scene((43 + k, 40, RED)) for k in range(12)]
    assert follow(first + flash + later)[0].cuts == ()


def test_a_few_broken_frames_do_not_end_a_shot_and_another_scene_does() -> None:
    first = [scene((30 + k, 40, RED)) for k in range(10)]
    later = [scene((43 + k, 40, RED)) for k in range(10)]
    broken = [scene(shade=120)] * 3
    found, _ = follow(first + broken + later)
    assert found.cuts == () and found.found.sum() >= 19
    assert not found.found[10:13].any()
    assert follow(first + broken + [scene((60, 60, RED), shade=80)] * 9)[0].cuts == (10, 13)


def test_a_jump_within_a_take_is_a_cut() -> None:
    frames = [scene((30, 40, RED))] * 10 + [scene((48, 40, RED))] * 10
    assert follow(frames)[0].cuts == (10,)


def test_copies_of_frames_are_marked() -> None:
    frames = [scene((30 + k // 2, 40, RED)) for k in range(12)]
    found, _ = follow(frames)
    assert found.repeated.tolist() == [k % 2 == 1 for k in range(12)]
    assert found.fresh.sum() == 6


@pytest.mark.parametrize(("face", "x"), [(1, 25), (2, 70)])
def test_faces_are_counted_from_the_left(face: int, x: int) -> None:
    frames = [scene((25, 40, GREEN), (70, 40, RED))] * 3
    assert abs(middles(follow(frames, face=face)[0])[0, 0] - x) < 12


def test_a_face_that_is_never_there_is_misuse() -> None:
    with pytest.raises(UsageError, match="no face 3 in the film: at most 2 found"):
        follow([scene((25, 40, GREEN), (70, 40, RED))] * 9, face=3)


def test_no_face_at_all_is_told() -> None:
    with pytest.raises(InputError, match=r"no face found in talk.mp4 \(9 frames\)"):
        follow(nothing(9, SIDE), name="talk.mp4")


def test_a_face_that_the_tracker_doubts_is_taken_where_the_search_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(self: DiscReader, pictures: torch.Tensor, points: torch.Tensor) -> np.ndarray:
        return np.zeros(len(points), bool)

    monkeypatch.setattr(DiscReader, "sees", never)
    found, reader = follow([scene((30 + k, 40, RED)) for k in range(5)])
    assert found.found.all() and reader.n_searches == 5
    assert np.abs(middles(found)[:, 0] - np.arange(30, 35)).max() < 1


def test_one_frame_is_a_film() -> None:
    assert len(follow([scene((30, 40, RED))])[0].found) == 1
