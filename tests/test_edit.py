"""Films edited: what was asked for changes, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.films import SIDE, moved, nothing, photo, write_film
from tests.test_video import tone
from vasa_cli.edit import Edits, plan_edits, steadied
from vasa_cli.errors import UsageError
from vasa_cli.extraction import Performance, extract, read_motion, without
from vasa_cli.film import open_film
from vasa_cli.geometry import EXPLICIT
from vasa_cli.motion import LIDS
from vasa_cli.pipeline import Renderer
from vasa_cli.refilm import Plan, draw
from vasa_cli.repaint import eyes_mask
from vasa_cli.track import track
from vasa_cli.video import decoded_sha256, probe, read_video

N_FRAMES = 14
GAP = (5, 7)
QUICK = ("--device", "cpu", "--provenance", "off", "--no-watermark")


def filmed(*, zoom: float = 1.0, down: float = 0.0) -> list[np.ndarray]:
    """A portrait that shakes its head a little on its way to the right."""
    still = photo()
    shaken = [(0.8 * k, 1.5 * np.sin(2.1 * k)) for k in range(N_FRAMES)]
    return [moved(still, right=x, roll_deg=roll, zoom=zoom, down=down) for x, roll in shaken]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    sound = tone(folder / "tone.wav", duration_s=0.6)
    return write_film(folder / "talk.mp4", filmed(), sound=sound, crf=6)


@pytest.fixture(scope="module")
def performed(renderer: Renderer, film: Path) -> Performance:
    return extract(open_film(film), renderer.models.reader, strength=0.0)


def planned(renderer: Renderer, performed: Performance, **edits: object) -> Plan:
    asked = Edits(**edits)  # type: ignore[arg-type]
    models = renderer.models
    return plan_edits(performed, asked, models.geometry, models.emotions)[0]


def dynamics_of(renderer: Renderer, performed: Performance, frames: list[np.ndarray]) -> np.ndarray:
    """What an eye sees in edited frames, (T, N_DYNAMICS), by the face of the film."""
    (shot,) = performed.shots
    assert shot is not None
    points = track(frames, renderer.models.reader).points.astype(np.float64)
    return read_motion(shot.window.to_crop(points), shot.code, renderer.models.geometry)[1]


def edited(renderer: Renderer, performed: Performance, **edits: object) -> list[np.ndarray]:
    plan = planned(renderer, performed, **edits)
    return list(draw(renderer, performed.film, performed.track, plan))


def test_eyes_look_where_they_are_told_and_nothing_else_changes(
    renderer: Renderer, performed: Performance
) -> None:
    plan = planned(renderer, performed, gaze=(-12.0, 0.0))
    left = list(draw(renderer, performed.film, performed.track, plan))
    right = edited(renderer, performed, gaze=(12.0, 0.0))
    yaw = EXPLICIT.index("gaze_yaw")
    looks = [dynamics_of(renderer, performed, frames)[:, yaw] for frames in (left, right)]
    assert (looks[1] - looks[0]).min() > 0.8
    for k, (new, old) in enumerate(zip(left, performed.film.frames())):
        square = plan.squares[k]
        assert square is not None
        inside = eyes_mask(square, performed.track.points[k], plan.targets[k])
        mask = np.zeros((SIDE + 2 * square.shown,) * 2)
        top, at = square.top + square.shown, square.left + square.shown
        mask[top : top + square.shown, at : at + square.shown] = inside
        mask = mask[square.shown : square.shown + SIDE, square.shown : square.shown + SIDE]
        assert np.array_equal(new[mask == 0], old[mask == 0]) and (mask > 0).mean() < 0.12


def test_a_blink_is_added_and_taken_out_again(renderer: Renderer, tmp_path: Path) -> None:
    def read(name: str, frames: list[np.ndarray]) -> Performance:
        film = open_film(write_film(tmp_path / name, frames, crf=6))
        return extract(film, renderer.models.reader, strength=0.0)

    near = read("near.mp4", filmed(zoom=2.0, down=24.0))  # eyes of 10 pixels tell little
    frames = edited(renderer, near, blinks=100.0)  # a minute: one in 0.56 s
    lids = dynamics_of(renderer, near, frames)[:, LIDS].mean(1)
    blinked = read("blink.mp4", frames)
    calm = dynamics_of(renderer, blinked, edited(renderer, blinked, blinks=0.0))[:, LIDS].mean(1)
    assert np.ptp(lids) > 2.5 * np.ptp(calm)
    assert 3 < lids.argmin() < 10


def test_an_emotion_is_added(renderer: Renderer, performed: Performance) -> None:
    lift = EXPLICIT.index("corner_lift")
    happy, sad = (
        dynamics_of(renderer, performed, edited(renderer, performed, emotion=((name, 1.0),)))
        for name in ("happy", "sad")
    )
    assert np.median(happy[:, lift]) > np.median(sad[:, lift]) + 0.5


def test_a_head_is_steadied(renderer: Renderer, performed: Performance) -> None:
    def shake(frames: list[np.ndarray]) -> float:
        points = track(frames, renderer.models.reader).points
        across = points[:, 263, :2] - points[:, 33, :2]
        return float(np.degrees(np.arctan2(across[:, 1], across[:, 0])).std())

    before = shake(list(performed.film.frames()))
    assert before > 0.8
    assert shake(edited(renderer, performed, steady=1.0)) < 0.5 * before


def test_steadying_leaves_what_is_slow() -> None:
    slow = np.zeros((200, 6))
    slow[:, 0] = 20 * np.sin(np.arange(200) / 200 * np.pi)
    quick = np.zeros((200, 6))
    quick[:, 0] = np.sin(np.arange(200) * 2.0)
    assert np.abs(steadied(slow, 1.0, 25.0) - slow)[30:-30].max() < 1.5
    assert np.abs(steadied(quick, 1.0, 25.0))[30:-30].max() < 0.05
    assert np.allclose(steadied(quick, 0.5, 25.0), (quick + steadied(quick, 1.0, 25.0)) / 2)
    assert np.array_equal(steadied(slow[:1], 1.0, 25.0), slow[:1])


def test_bad_frames_are_drawn_from_their_neighbours(
    renderer: Renderer, performed: Performance, tmp_path: Path
) -> None:
    true = list(performed.film.frames())
    bad = [*true[: GAP[0]], *nothing(3), *true[GAP[1] + 1 :]]
    found = extract(
        open_film(write_film(tmp_path / "bad.mp4", bad, crf=6)),
        renderer.models.reader,
        skip=(GAP,),
    )
    frames = edited(renderer, found, fill=(GAP,))
    read = list(found.film.frames())
    for k, (new, old) in enumerate(zip(frames, read)):
        if GAP[0] <= k <= GAP[1]:
            error = np.abs(new.astype(float) - true[k]).mean()
            assert error < 0.25 * np.abs(old.astype(float) - true[k]).mean()
        else:
            assert np.array_equal(new, old)
    seen = track(frames, renderer.models.reader)
    nose = seen.points[:, 4, 0] - performed.track.points[:, 4, 0]
    assert seen.found.all() and np.abs(nose).max() < 2.5


@pytest.mark.parametrize("gap", [(0, 2), (N_FRAMES - 2, N_FRAMES - 1)])
def test_a_gap_at_an_end_is_filled_from_one_side(
    renderer: Renderer, film: Path, gap: tuple[int, int]
) -> None:
    found = extract(open_film(film), renderer.models.reader, skip=(gap,))
    plan = planned(renderer, found, fill=(gap,))
    assert sorted(plan.missing) == list(range(gap[0], gap[1] + 1))
    source = 3 if gap[0] == 0 else gap[0] - 1
    frame = list(found.film.frames())[source]
    for neighbours in plan.missing.values():
        assert len(neighbours) == 1 and neighbours[0].share == 1.0
        assert np.array_equal(neighbours[0].image, frame)


def test_frames_to_be_filled_are_not_looked_at() -> None:
    frames = [np.full((1, 1, 3), k) for k in range(6)]
    assert [int(f[0, 0, 0]) for f in without(frames, [(0, 1), (4, 4)])] == [2, 2, 2, 3, 3, 5]
    with pytest.raises(UsageError, match="all 6 frames of the film are to be filled"):
        list(without(frames, [(0, 5)]))


# The command


def test_the_command_edits_and_keeps_the_sound(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = run("edit", film, "-o", out, "--gaze", "right", "--fill", "3", *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    said, info = json.loads(result.stdout), probe(out, count_frames=True)
    assert (said["n_frames"], said["seed"], info.n_frames) == (N_FRAMES, None, N_FRAMES)
    assert (info.width, info.height, info.fps, info.has_audio) == (SIDE, SIDE, 25, True)
    assert decoded_sha256(out) != decoded_sha256(film)
    assert run("edit", film, "-o", out, "--gaze", "right").exit_code == 2  # it exists


def test_a_silent_film_stays_silent_and_the_preview_short(tmp_path: Path) -> None:
    mute = write_film(tmp_path / "mute.mp4", filmed()[:8])
    arguments = ["--steady", "0.5", "--preview", "0.2", *QUICK]
    result = run("edit", mute, *arguments)
    assert result.exit_code == 0, result.stderr
    info = probe(tmp_path / "mute-edited.mp4", count_frames=True)
    assert (info.n_frames, info.has_audio) == (5, False)
    assert len(list(read_video(mute))) == 8


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["FILM"], 2, "nothing to edit; give --gaze, --blinks, --emotion, --steady or --fill"),
        (["FILM", "--fill", "9-4"], 2, "'9-4' ends before it begins; give 4-9"),
        (["FILM", "--fill", "all"], 2, "'all' is no span of frames; give 40-52"),
        (["FILM", "--fill", "3-20"], 2, "frames 3-20 are not in talk.mp4, which has 0-13"),
        (["FILM", "--fill", "0-13"], 2, "all 14 frames of the film are to be filled"),
        (["FILM", "--gaze", "90,0"], 2, "90"),
        (["FILM", "--emotion", "bored"], 2, "'bored' is no emotion"),
        (["none.mp4", "--steady", "1"], 3, "video none.mp4 does not exist"),
        (["PLAIN", "--steady", "1"], 3, "no face found in plain.mp4"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    film: Path, tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    names = {"FILM": film, "PLAIN": tmp_path / "plain.mp4"}
    if "PLAIN" in arguments:
        write_film(names["PLAIN"], nothing(4))
    given = [names.get(word, word) for word in arguments]
    result = run("edit", *given, "-o", tmp_path / "out.mp4", "--device", "cpu")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "out.mp4").exists()
