"""Frames that a generator is not asked for: which they are, and how near they come."""

from __future__ import annotations

import pytest
import torch

from tests.test_decoder import face_points, picture
from vasa_cli.loading import load_geometry
from vasa_cli.models.decoder import Decoder, eye_tweens
from vasa_cli.models.tweens import Evenness, Tweens
from vasa_cli.weights import find_weights_dir

EVEN = Evenness(bend=0.01, step=0.05)


def drifting(n_frames: int, *, step: float = 0.02) -> torch.Tensor:
    """Seven landmarks that move by `step` a frame along a slanted line, (n_frames, 7, 2)."""
    start = torch.linspace(-1, 1, 14).view(1, 7, 2)
    return start + torch.arange(n_frames)[:, None, None] * step * torch.tensor([0.6, 0.8])


def skipped(*movements: tuple[torch.Tensor, Evenness]) -> list[int]:
    """Frames that are not asked for, in order."""
    return sorted(frame for frame, _ in Tweens.of(*movements).between)


@pytest.mark.parametrize(
    ("n_frames", "between"),
    [
        (1, ()),
        (2, ()),
        (3, ((1, 1),)),
        (4, ((1, 1),)),
        (5, ((2, 2), (1, 1), (3, 1))),
        (8, ((2, 2), (1, 1), (3, 1), (5, 1))),
        (9, ((4, 4), (2, 2), (6, 2), (1, 1), (3, 1), (5, 1), (7, 1))),
    ],
)
def test_frames_of_an_even_movement_lie_between_two_others(
    n_frames: int, between: tuple[tuple[int, int], ...]
) -> None:
    found = Tweens.of((drifting(n_frames, step=0.01), EVEN))
    assert found.between == between
    assert sorted([*found.asked, *(frame for frame, _ in between)]) == list(range(n_frames))


def test_the_faster_a_movement_the_more_frames_are_asked_for() -> None:
    for step, n_skipped in ((0.0124, 7), (0.0126, 6), (0.0249, 6), (0.0251, 4), (0.051, 0)):
        assert len(skipped((drifting(9, step=step), EVEN))) == n_skipped


def test_what_moves_unevenly_is_asked_for_in_that_place_alone() -> None:
    shape = drifting(9)
    shape[5] += torch.tensor([0.0, 0.011])  # so far is every landmark off the middle
    assert skipped((shape, EVEN)) == [1, 2, 3, 6, 7]
    shape[5] -= torch.tensor([0.0, 0.002])
    assert skipped((shape, EVEN)) == [1, 2, 3, 5, 6, 7]


def test_all_that_is_watched_must_move_evenly() -> None:
    quick = drifting(9)
    quick[4, :, 0] += 0.1
    assert skipped((drifting(9), EVEN), (quick, EVEN)) == [1, 7]


def test_inputs_are_gathered_and_outputs_completed() -> None:
    tweens = Tweens(asked=(0, 4), between=((2, 2), (1, 1), (3, 1)))
    parts = [torch.rand(5, n, 4, 4) for n in (3, 1)]
    given = tweens.gather(parts)
    assert torch.equal(given, torch.cat(parts, 1)[[0, 4]])
    whole = tweens.complete(given)
    for k in range(5):
        assert torch.allclose(whole[k], torch.lerp(given[0], given[1], k / 4))
    assert torch.equal(Tweens.none(5).complete(Tweens.none(5).gather(parts)), torch.cat(parts, 1))


def test_only_frames_between_two_differ_and_hardly_do() -> None:
    torch.manual_seed(0)
    geometry = load_geometry(find_weights_dir())
    decoder, photo, source = Decoder(width=8).eval(), picture(128), face_points(geometry)
    for module in (decoder.motion, decoder.eye):
        torch.nn.init.normal_(module.leave.weight, std=0.3)
    points = torch.cat([face_points(geometry, yaw_deg=a) for a in (0.0, 0.4, 0.8, 1.2, 8.0)])
    assert eye_tweens(points).between == ((1, 1),)
    with torch.no_grad():
        seen = decoder.look(photo, source).expand(len(points))
        plain = decoder.compose(seen, points)
        drawn = decoder.compose(seen, points, in_a_row=True)
    off = (drawn - plain).abs().amax((1, 2, 3))
    assert off[[0, 2, 3, 4]].max() < 1e-5 < off[1]
    assert (plain[0] - plain[2]).abs().mean() > 50 * (drawn[1] - plain[1]).abs().mean()
