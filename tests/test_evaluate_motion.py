"""`vasa evaluate motion`: performers whose figures are known, clips read two ways, the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.test_pipeline import sound
from tests.test_training import prepared  # noqa: F401  (a fixture)
from vasa_cli import evaluate_motion as measuring
from vasa_cli.audio import Audio
from vasa_cli.cli.evaluate_motion import plain, verdict
from vasa_cli.errors import InputError
from vasa_cli.evaluate_motion import Perform, cut_to, evaluate, joined_sound
from vasa_cli.filmed_figures import Filmed
from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models.audio_encoder import CLASSES, N_CLASSES
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion
from vasa_cli.speech import N_FEATURES
from vasa_cli.spoken_figures import Spoken
from vasa_cli.training import data, filmed
from vasa_cli.weights import find_weights_dir

N_FRAMES = 200


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def talking(seed: int) -> tuple[Motion, np.ndarray]:
    """A head that nods and a mouth that opens with the loudness, and the loudness."""
    rng = np.random.default_rng(seed)
    rough = np.convolve(rng.normal(size=N_FRAMES + 20), np.hanning(9), mode="same")[10:-10]
    loud = (rough - rough.min()) / np.ptp(rough)
    motion = Motion(np.zeros((N_FRAMES, N_HEAD_POSE)), np.zeros((N_FRAMES, N_DYNAMICS)))
    motion.dynamics[:, MOUTH_OPEN] = 3 * loud
    motion.dynamics[:, MOUTH_OPEN + 1] = rng.normal(size=N_FRAMES)
    motion.dynamics[:, EXPLICIT.index("brow_height")] = loud
    motion.head_pose[:, 1] = np.cumsum(loud - loud.mean())
    for start in (30, 130):
        motion.dynamics[start : start + 4, LIDS] = -5
    return motion, loud


@pytest.fixture
def clips(tmp_path: Path) -> list[Filmed]:
    """Four speakers; the last one's lips are not to be trusted."""
    found = []
    for k in range(4):
        motion, loud = talking(k)
        speech = np.zeros((2 * N_FRAMES, N_FEATURES))
        speech[:, N_CLASSES] = np.repeat(loud, 2)
        path = sound(tmp_path / f"{k}.wav", N_FRAMES / 25, level=0.1 * (k + 1))
        found.append(Filmed(path, f"speaker {k}", motion, speech, k < 3))
    return found


def performer(clips: list[Filmed], *, late: int = 0) -> Perform:
    """Does to each clip's sound what its own speaker did, some frames late; else is still."""

    def perform(audio: Audio, seed: int) -> Motion:
        n = -(-len(audio.samples) // 640)
        for clip in clips:
            if clip.path == audio.path:
                own = clip.motion
                return replace(own, **{k: np.roll(v, late, 0) for k, v in arrays(own).items()})
        return Motion(np.zeros((n, N_HEAD_POSE)), np.zeros((n, N_DYNAMICS)))

    return perform


def arrays(motion: Motion) -> dict[str, np.ndarray]:
    return {"head_pose": motion.head_pose, "dynamics": motion.dynamics}


def measured(
    clips: list[Filmed], geometry: Geometry, perform: Perform, spoken: tuple[Spoken, ...] = ()
) -> dict[str, Any]:
    return evaluate(clips, spoken, perform, geometry, minutes=0.5)


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "QUIET_S", 4.0)


def test_a_performance_like_the_real_one_has_the_figures_of_one(
    clips: list[Filmed], geometry: Geometry
) -> None:
    found = measured(clips, geometry, performer(clips))
    assert found["lips"]["opening"] == pytest.approx(1) and found["lips"]["clips"] == 3
    assert found["lips"]["width"] == pytest.approx(1)
    assert found["lips"]["opening_lag_ms"] == pytest.approx(0, abs=2)
    assert found["lips"]["energy_made"] == pytest.approx(found["lips"]["energy_real"])
    assert found["lips"]["spread"] == pytest.approx(1, abs=0.01)
    assert found["head"]["jitter"] == found["head"]["lips_jitter"] == 1
    assert found["head"]["brows_made"] > 0.99 > 0.5 > found["head"]["brows_made_shuffled"]
    assert found["head"]["stress_margin"] > 0.4
    assert found["head"]["blinks_per_minute_real"] == pytest.approx(2 / 8 * 60)


def test_late_lips_are_seen_to_be_late(clips: list[Filmed], geometry: Geometry) -> None:
    found = measured(clips, geometry, performer(clips, late=2))
    assert found["lips"]["opening_lag_ms"] == pytest.approx(80, abs=8)
    assert found["lips"]["opening"] < 0.9 < found["lips"]["opening_best"]


def test_a_still_face_follows_nothing(clips: list[Filmed], geometry: Geometry) -> None:
    found = measured(clips, geometry, performer([]))
    assert np.isnan(found["lips"]["opening"]) and np.isnan(found["lips"]["opening_lag_ms"])
    assert np.isnan(found["head"]["brows_made"])
    assert found["head"]["turn"] == found["silence"]["blinks_per_minute"] == 0
    assert verdict(float("nan"), 0.55, None) == "asked at least 0.55: not measured"
    json.dumps(plain(found), allow_nan=False)


def test_a_long_motion_is_looked_through_for_drift_seams_and_blinks(
    clips: list[Filmed], geometry: Geometry
) -> None:
    def perform(audio: Audio, seed: int) -> Motion:
        n = -(-len(audio.samples) // 640)
        rng = np.random.default_rng(0)
        motion = Motion(rng.normal(size=(n, N_HEAD_POSE)), rng.normal(size=(n, N_DYNAMICS)) * 0.1)
        if audio.path.name == "all clips":
            motion.head_pose[:, 0] += np.linspace(0, 40, n)
            motion.dynamics[50::50] += 1  # a step at every seam
            motion.dynamics[20::100, 2:4] = -6
        return motion

    found = measured(clips, geometry, perform)
    assert found["long"]["minutes"] == 0.5
    assert found["long"]["trend"] > 2 and found["long"]["trend_deg"] == pytest.approx(40, rel=0.2)
    assert found["long"]["seam_face"] > 1.5 and found["long"]["seam_head"] < 1.3
    assert found["head"]["blinks_per_minute"] == pytest.approx(15, abs=2)


def test_phones_are_counted_together_and_by_row(clips: list[Filmed], geometry: Geometry) -> None:
    names = ("open", "bilabial", "close_front", "close_rounded", "labiodental") * 4
    said = np.repeat([CLASSES.index(name) for name in names], 10).astype(np.uint8)
    samples = np.zeros(len(said) * 320, np.int16)
    good, bad = (
        Spoken(Audio(Path(name), samples), said, name, "voice") for name in ("good", "bad")
    )
    other = replace(bad, kind="whisper")
    shut = CLASSES.index("bilabial")

    def perform(audio: Audio, seed: int) -> Motion:
        motion = performer(clips)(audio, seed)
        if audio.path.name in ("good", "bad"):
            middle = said[1::2]
            opens = np.where(middle == shut, 0.0, 2.0) if audio.path.name == "good" else 1.0
            motion.dynamics[:, MOUTH_OPEN] = opens
            wide = (middle == CLASSES.index("close_front")) * 1.0
            motion.dynamics[:, MOUTH_OPEN + 1] = wide if audio.path.name == "good" else -wide
        return motion

    found = measured(clips, geometry, perform, (good, bad, other))
    assert found["phones"]["bilabials"] == 8 and found["phones"]["bilabials_closed"] == 0.5
    assert found["phones"]["width_least_voice"] == pytest.approx(-1)
    assert found["phones"]["width_mean"] == pytest.approx(0, abs=0.01)
    assert found["voices"]["good"]["bilabials_closed"] == 1
    assert set(found["voices"]) == {"good", "bad"} and set(found["kinds"]) == {"whisper"}


def test_no_clip_is_said(geometry: Geometry) -> None:
    with pytest.raises(InputError, match="no clip shows a face throughout"):
        evaluate([], [], performer([]), geometry)


def test_sounds_are_joined_equally_loud_and_as_long_as_asked(clips: list[Filmed]) -> None:
    whole = joined_sound(clips, 50).as_float()
    assert len(whole) == 50 * 16000
    levels = [float(np.sqrt(np.mean(part**2))) for part in np.split(whole[: 32 * 16000], 4)]
    assert levels == pytest.approx([10 ** (-23 / 20)] * 4, rel=0.1)
    assert np.array_equal(whole[32 * 16000 :], whole[: 18 * 16000])


def test_a_shorter_motion_is_held() -> None:
    motion, _ = talking(0)
    assert len(cut_to(motion, 20)) == 20
    assert np.array_equal(cut_to(motion, 210).dynamics[-1], motion.dynamics[-1])


# --- clips and the command ---


def test_clips_are_chosen_by_name_person_and_number(
    prepared: tuple[Path, Path],  # noqa: F811
) -> None:
    folder, cache = prepared
    every = filmed.choose(folder, cache)
    assert [item.path.name for item in every] == [f"clip{k}.mp4" for k in range(6)]
    assert len(filmed.choose(folder, cache, limit=2)) == 2
    (one,) = filmed.choose(folder, cache, names={"clip3.mp4"})
    assert one.path.name == "clip3.mp4"
    kept_out = {item.path.name for item in every if item.validation}
    if kept_out:
        found = filmed.choose(folder, cache, validation=True)
        assert {item.path.name for item in found} == kept_out
    with pytest.raises(InputError, match="no video in"):
        filmed.choose(folder, cache, names={"none.mp4"})


def test_clips_without_labels_are_read_once_by_the_face_reader(
    prepared: tuple[Path, Path],  # noqa: F811
    geometry: Geometry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, cache = prepared
    labelled = data.load_labels(filmed.choose(folder, cache, names={"clip1.mp4"})[0])
    asked: list[Any] = []

    def seen(frames: Any, faces: Any) -> Any:
        asked.append(sum(1 for _ in frames))
        return SimpleNamespace(points=labelled.points, found=labelled.found)

    monkeypatch.setattr(filmed, "track", seen)
    ear = SimpleNamespace(
        read=lambda audio: SimpleNamespace(stacked=lambda: np.zeros((60, N_FEATURES), np.float32))
    )
    told: list[str] = []

    def read(items: list[data.Item], place: Path) -> list[Filmed]:
        faces: Any = object()
        return filmed.read(
            items, faces, geometry, ear, cache=place, key="k", tell=told.append  # type: ignore
        )

    for _ in range(2):
        items = filmed.choose(folder, tmp_path, names={"clip1.mp4"})
        (clip,) = read(items, tmp_path)
    (expected,) = read(filmed.choose(folder, cache, names={"clip1.mp4"}), cache)
    assert asked == [30] and told == ["reading clip1.mp4"]
    assert np.allclose(clip.motion.dynamics, expected.motion.dynamics)
    assert clip.lips and len(clip.motion) == 30


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """No synthesised speech, which takes its time."""
    monkeypatch.setattr("vasa_cli.training.spoken.spoken", lambda tell: [])


def test_the_command_measures_a_folder(
    prepared: tuple[Path, Path], little: None  # noqa: F811
) -> None:
    folder, cache = prepared
    options = ("--data", folder, "--cache", cache, "--limit", 2, "--minutes", 0.5, "--steps", 1)
    quick = (*options, "--guidance-audio", 0, "--quiet")
    result = run("evaluate", "motion", *quick, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["lips"]["clips"] == 2 and found["long"]["minutes"] == 0.5
    text = run("evaluate", "motion", *quick).stdout
    assert "lips\n" in text and "asked at least 0.55" in text
    assert f"  turn                      {found['head']['turn']:9.3f}  asked 0.25 to 0.6" in text
    other = json.loads(run("evaluate", "motion", *quick, "--json", "--seed", 4).stdout)
    assert other["head"]["turn"] != found["head"]["turn"]


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (0.6, 0.55, None, "asked at least 0.55: met"),
        (0.5, 0.55, None, "asked at least 0.55: not met"),
        (0.5, 0.25, 0.6, "asked 0.25 to 0.6: met"),
        (1.3, None, 1.2, "asked at most 1.2: not met"),
    ],
)
def test_what_is_asked_is_said(
    value: float, low: float | None, high: float | None, words: str
) -> None:
    assert verdict(value, low, high) == words


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    result = run("evaluate", "motion", "--data", tmp_path)
    assert result.exit_code == 3 and "no video" in result.stderr
