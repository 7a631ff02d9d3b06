"""The sampler against closed forms: a denoiser that knows the answer, seeds, windows."""

from __future__ import annotations

from typing import Callable

import pytest
import torch
from torch import Tensor

from vasa_cli.diffusion import (
    CONTEXT,
    WINDOW,
    Denoise,
    Known,
    add_noise,
    guided,
    joined,
    noise_share,
    sample,
    signal_share,
)
from vasa_cli.models.denoiser import Denoiser

DIM, FEATURES = 6, 5


class Made:
    """A denoiser made of a function of noisy motion, past, and what is heard: 0 without sound."""

    def __init__(self, answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        self.answer = answer
        self.n_passes = 0

    def listen(self, speech: Tensor | None) -> Tensor:
        return torch.zeros(1, 1, 1) if speech is None else torch.ones(1, speech.shape[1] // 2, 1)

    def look(self, gaze: Tensor) -> Tensor:
        return 10 * gaze[..., :1] * gaze[..., 2:]

    def __call__(
        self, noisy: Tensor, level: Tensor, *, past: Tensor, heard: Tensor, style: Tensor
    ) -> Tensor:
        self.n_passes += 1
        return self.answer(noisy, past, heard[:, :1])


def known(answer: float) -> Made:
    """A denoiser that always predicts the same clean motion."""
    return Made(lambda noisy, past, heard: torch.full_like(noisy, answer))


def draw(
    denoise: Denoise,
    n_frames: int,
    *,
    seed: int = 0,
    guidance_audio: float = 0.0,
    gaze: Tensor | None = None,
    guidance_gaze: float = 0.0,
) -> Tensor:
    return sample(
        denoise,
        torch.zeros(2 * n_frames, FEATURES),
        n_frames=n_frames,
        motion_dim=DIM,
        style=torch.zeros(1, 2),
        seed=seed,
        num_steps=4,
        guidance_audio=guidance_audio,
        gaze=gaze,
        guidance_gaze=guidance_gaze,
    )


def tiny() -> Denoiser:
    torch.manual_seed(0)
    model = Denoiser(motion_dim=DIM, speech_dim=FEATURES, width=16, n_layers=1, n_heads=2).eval()
    torch.nn.init.normal_(model.clean.weight, std=0.5)
    return model


def test_signal_and_noise_keep_unit_power() -> None:
    level = torch.linspace(0, 1, 11)
    assert torch.allclose(
        signal_share(level) ** 2 + noise_share(level) ** 2, torch.ones(11), atol=1e-6
    )
    assert signal_share(level)[0] == 1 and noise_share(level)[0] == 0


def test_noise_at_level_zero_is_none() -> None:
    clean = torch.randn(2, 5, DIM)
    assert torch.equal(add_noise(clean, torch.randn(2, 5, DIM), torch.zeros(2)), clean)


def test_sampling_ends_at_what_the_denoiser_knows() -> None:
    assert torch.allclose(draw(known(0.7), 73), torch.full((73, DIM), 0.7), atol=1e-5)


@pytest.mark.parametrize("n_frames", [1, 5, WINDOW, WINDOW + 1, 3 * WINDOW - 1])
def test_any_length_comes_out(n_frames: int) -> None:
    assert draw(known(0.0), n_frames).shape == (n_frames, DIM)


def test_one_seed_gives_one_motion_and_another_seed_another() -> None:
    model = tiny()
    with torch.inference_mode():
        first, again, other = (draw(model, 60, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_a_longer_speech_begins_like_a_shorter_one() -> None:
    model = tiny()
    with torch.inference_mode():
        assert torch.allclose(draw(model, 2 * WINDOW)[:WINDOW], draw(model, WINDOW), atol=1e-6)


def test_guidance_moves_away_from_what_no_sound_gives() -> None:
    denoise = Made(lambda noisy, past, heard: heard.expand_as(noisy))
    guided = draw(denoise, 10, guidance_audio=0.5)
    assert torch.allclose(guided, torch.full((10, DIM), 1.5), atol=1e-5)


def test_with_and_without_the_sound_are_one_pass() -> None:
    plain, guided = known(0.0), known(0.0)
    draw(plain, WINDOW)
    draw(guided, WINDOW, guidance_audio=1.0)
    assert plain.n_passes == guided.n_passes == 4


def test_guidance_is_the_same_in_one_pass_as_in_two() -> None:
    model = tiny()
    torch.nn.init.normal_(model.silence)
    torch.manual_seed(1)
    noisy, past = torch.randn(1, WINDOW, DIM), torch.randn(1, CONTEXT, DIM)
    speech, level = torch.randn(1, 2 * (WINDOW + CONTEXT), FEATURES), torch.full((1,), 0.7)
    given = {"past": past, "style": torch.zeros(1, 2)}
    torch.nn.init.normal_(model.aim.weight)
    with torch.inference_mode():
        aim = model.look(torch.ones(1, WINDOW + CONTEXT, 3))
        hearing = model.listen(speech)
        heard = hearing + aim, model.listen(None) + aim, hearing
        full, deaf, blind = (model(noisy, level, heard=h, **given) for h in heard)
        without = [(heard[1], 1.5), (heard[2], 0.5)]
        every = guided(model, noisy, level, heard=heard[0], without=without, **given)
    assert torch.allclose(every, 3 * full - 1.5 * deaf - 0.5 * blind, atol=1e-5)
    for one in (deaf, blind):
        assert not torch.allclose(full, one, atol=1e-2)


def test_a_gaze_is_known_in_its_own_frames_and_guided() -> None:
    """Of a denoiser whose answer is 1 with sound, and ten times the gaze it knows."""
    denoise = Made(lambda noisy, past, heard: heard[:, :1].expand_as(noisy))
    n_frames = 2 * WINDOW
    gaze = torch.zeros(n_frames, 3)
    gaze[WINDOW - CONTEXT :, 0] = 0.2
    assert torch.allclose(draw(denoise, n_frames, gaze=gaze), torch.ones(n_frames, DIM), atol=1e-5)
    gaze[:, 2] = 1  # held
    plain = draw(denoise, n_frames, gaze=gaze)
    guided = draw(denoise, n_frames, gaze=gaze, guidance_gaze=0.5)
    one = torch.ones(WINDOW, DIM)
    # the made denoiser looks at the first frame it is shown, of the past
    assert torch.allclose(plain, torch.cat([one, one * 3]), atol=1e-5)
    assert torch.allclose(guided, torch.cat([one, one * 4]), atol=1e-5)


def test_a_gaze_that_is_asked_late_is_seen_by_the_last_frames_of_a_window() -> None:
    seen: list[Tensor] = []
    denoise = known(0.0)
    denoise.look = lambda gaze: (seen.append(gaze), gaze[..., :1])[1]  # type: ignore[method-assign]
    gaze = torch.arange(70.0)[:, None].expand(-1, 3)
    draw(denoise, 70, gaze=gaze)
    first, second = (g[0, :, 0] for g in seen)
    assert first.tolist() == [0.0] * CONTEXT + list(range(WINDOW))
    assert second.tolist() == [*range(WINDOW - CONTEXT, 70)] + [69.0] * (2 * WINDOW - 70)


def test_a_gaze_that_is_not_held_changes_nothing() -> None:
    model = tiny()
    torch.nn.init.normal_(model.aim.weight)
    free = torch.cat([torch.randn(1, 5, 2), torch.zeros(1, 5, 1)], 2)
    assert torch.equal(model.look(free), torch.zeros(1, 5, 16))


def test_the_denoiser_sees_the_past_and_ignores_padding() -> None:
    model = tiny()
    noisy, past = torch.randn(1, WINDOW, DIM), torch.randn(1, CONTEXT, DIM)
    speech, style = torch.randn(1, 2 * (WINDOW + CONTEXT), FEATURES), torch.zeros(1, 2)
    padding = torch.arange(WINDOW + CONTEXT)[None] >= CONTEXT + 20
    with torch.inference_mode():
        heard = model.listen(speech)
        found = model(noisy, torch.ones(1), past=past, heard=heard, style=style, padding=padding)
        changed = noisy.clone()
        changed[:, 20:] += 1
        same = model(changed, torch.ones(1), past=past, heard=heard, style=style, padding=padding)
        moved = model(
            noisy, torch.ones(1), past=past + 1, heard=heard, style=style, padding=padding
        )
    assert torch.allclose(found[:, :20], same[:, :20], atol=1e-5)
    assert not torch.allclose(found, moved)


def test_without_liberty_no_seed_matters_and_with_it_each_does() -> None:
    model = tiny()
    free = torch.tensor([1.0] + [0.0] * (DIM - 1))

    def sampled(seed: int, liberty: Tensor) -> Tensor:
        return sample(
            model,
            torch.zeros(20, FEATURES),
            n_frames=10,
            motion_dim=DIM,
            style=torch.zeros(1, 2),
            seed=seed,
            num_steps=3,
            guidance_audio=0.0,
            liberty=liberty,
        )

    with torch.inference_mode():
        assert torch.equal(sampled(1, torch.zeros(DIM)), sampled(2, torch.zeros(DIM)))
        assert not torch.equal(sampled(1, free), sampled(2, free))


def test_a_window_that_goes_on_as_the_past_did_is_left_alone() -> None:
    line = torch.arange(CONTEXT + WINDOW).float()[None, :, None].expand(-1, -1, DIM)
    window = line[:, CONTEXT:]
    assert torch.allclose(joined(line[:, :CONTEXT], window, torch.full((DIM,), 8.0)), window)


def test_a_step_between_windows_is_spread_over_the_frames_it_is_given() -> None:
    settling = torch.tensor([4.0, 8.0, 20.0, 20.0, 20.0, 40.0])
    past, window = torch.zeros(1, CONTEXT, DIM), torch.ones(1, WINDOW, DIM)
    whole = torch.cat([past, joined(past, window, settling)], 1)[0]
    steepest = whole.diff(dim=0).abs().amax(0)
    assert torch.all(steepest < 1.6 / settling)  # half a cosine's is pi / 2 over its length
    assert torch.all(whole.diff(dim=0) >= 0)
    for column, frames in enumerate(settling.int().tolist()):
        assert torch.equal(whole[CONTEXT + frames :, column], torch.ones(WINDOW - frames))


def test_windows_are_joined_to_the_past_and_the_first_to_rest() -> None:
    turning = Made(lambda noisy, past, heard: 1 - past.mean(1, keepdim=True).expand_as(noisy))

    def sampled(settling: Tensor | None) -> Tensor:
        return sample(
            turning,  # 1, 0, 1, ...
            torch.zeros(4 * WINDOW, FEATURES),
            n_frames=2 * WINDOW,
            motion_dim=DIM,
            style=torch.zeros(1, 2),
            seed=0,
            num_steps=2,
            guidance_audio=0.0,
            settling=settling,
        )

    apart, met = sampled(None), sampled(torch.full((DIM,), 10.0))
    assert torch.allclose(apart[:WINDOW], torch.ones(WINDOW, DIM), atol=1e-5)
    assert apart[WINDOW] == pytest.approx(torch.zeros(DIM), abs=1e-5)
    assert met[0] == pytest.approx(torch.zeros(DIM), abs=1e-5)
    assert torch.all(met[:11].diff(dim=0) >= 0)
    assert torch.allclose(met[10 : WINDOW + 1], torch.ones(WINDOW - 9, DIM), atol=1e-5)
    assert torch.allclose(met[WINDOW + 10 :], apart[WINDOW + 10 :], atol=1e-5)


def test_known_columns_come_out_as_they_are_and_the_others_follow_them() -> None:
    """A denoiser for which all columns are the mean of what it sees: the known ones decide."""

    def alike(noisy: Tensor, past: Tensor, heard: Tensor) -> Tensor:
        return noisy[..., :1].expand_as(noisy)

    n_frames = WINDOW + 7
    motion = torch.zeros(n_frames, DIM)
    motion[:, 0] = torch.linspace(2, 3, n_frames)
    columns = torch.arange(DIM) == 0
    drawn = sample(
        Made(alike),
        torch.zeros(2 * n_frames, FEATURES),
        n_frames=n_frames,
        motion_dim=DIM,
        style=torch.zeros(1, 2),
        seed=0,
        num_steps=8,
        guidance_audio=0.0,
        settling=torch.full((DIM,), 4.0),
        known=Known(motion, columns),
    )
    assert torch.equal(drawn[:, 0], motion[:, 0])
    near = (drawn[:, 1:] - motion[:, :1]).abs()
    assert near.mean() < 0.5  # with nothing known they would stay near 0
