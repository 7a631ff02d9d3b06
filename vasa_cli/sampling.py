"""From a sound to motion: heard, lips told, the rest sampled to match, closures and rests kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Callable, Iterator

import numpy as np
import torch

from vasa_cli import blinks, diffusion, steadying, stress
from vasa_cli.articulation import articulate
from vasa_cli.audio import Audio
from vasa_cli.config import MOTION_FPS, RenderOptions
from vasa_cli.controls import asked_gaze, lid_openings, lids_of
from vasa_cli.gaze import GAZE, soft_limit
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.loading import Models, fast_bf16
from vasa_cli.models.audio_encoder import SILENCE
from vasa_cli.motion import (
    LIDS,
    MOUTH_OPEN,
    Motion,
    articulated,
    liberty,
    rest_in_silence,
    settling,
)
from vasa_cli.motion_pieces import filtered, whole
from vasa_cli.steadying import BROWS, steadied
from vasa_cli.speech import SpeechFeatures, frame_count as feature_count
from vasa_cli.threads import each_within, on_one_core

STYLE = (1.0, 0.5)  # liveliness of head and mouth, in standard deviations over filmed talkers
# Head poses up to which a sampled head is as sampled, and which it never reaches: yaw, pitch and
# roll in degrees, x and y in crop units, logarithm of the distance. One frame in four is beyond
# one of the first, most of them aside; a head that sinks by 0.16 leaves the top of its hair behind.
HEAD_EXACT = np.array([12.0, 8.0, 7.0, 0.08, 0.05, 0.05])
HEAD_LIMIT = np.array([18.0, 12.0, 11.0, 0.12, 0.085, 0.08])
# How much further brows, and whatever else of the face is sampled, go than they are sampled, which
# is nearly the mean of what speech leaves open: within a clip they spread by half as much as filmed
# ones (219 clips), and with this by three quarters and more, brows by 0.84.
BROWS_LIVELIER, FACE_LIVELIER = 1.8, 1.5


def decided(dynamics: np.ndarray, models: Models) -> diffusion.Known:
    """What the sound alone decides of a performance, as the sampler takes it.

    Args: dynamics (T, N_DYNAMICS) by the articulator.
    """
    motion = np.zeros((len(dynamics), N_HEAD_POSE + N_DYNAMICS), np.float32)
    motion[:, N_HEAD_POSE:] = dynamics
    motion[:, N_HEAD_POSE + MOUTH_OPEN] = motion[:, N_HEAD_POSE + MOUTH_OPEN].clip(min=0)
    columns = torch.from_numpy(articulated(models.ear.trust))
    units = torch.from_numpy(motion) / models.motion_spread
    return diffusion.Known(units.to(models.device), columns.to(models.device))


def livelier(trust: np.ndarray) -> np.ndarray:
    """How much further each of the dynamics goes than it is sampled, (N_DYNAMICS,).

    Args: trust, of the articulator, by which what it tells stays as it is.
    """
    scale = np.where(articulated(trust)[N_HEAD_POSE:], 1.0, FACE_LIVELIER)
    scale[BROWS] = BROWS_LIVELIER
    scale[[*GAZE, *LIDS]] = 1.0
    return scale


def sample_motion(
    models: Models,
    audio: Audio,
    options: RenderOptions,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Motion:
    """All pieces of `sample_pieces` as one motion.

    Args: progress is told the frames that are done, and of how many.
    """
    pieces, done = [], 0
    n_frames = -(-feature_count(len(audio.samples)) // 2)
    for piece in sample_pieces(models, audio, options):
        pieces.append(piece)
        done += len(piece)
        progress(done, n_frames)
    return whole(pieces)


def sample_pieces(models: Models, audio: Audio, options: RenderOptions) -> Iterator[Motion]:
    """The motion of a speech at 25 frames a second, by seed, window after window.

    The sound is heard when the first is asked for. On one core of a CPU: a second of frames is too
    little to share, and takes as long on two.
    """
    trust, spread = models.ear.trust, models.motion_spread.numpy()
    with on_one_core(), torch.inference_mode():
        heard = models.ear.read(audio)
        lips = decided(models.ear.articulate(audio, heard), models)
    del audio  # 115 MB an hour
    scales, scale_of_face = stress.scales(_a_frame(heard.energy), MOTION_FPS), livelier(trust)

    def finished(motion: Motion, first: int) -> Motion:
        fps = float(motion.fps)
        motion = steadied(motion, spread, ~articulated(trust))
        head = stress.stressed(motion.head_pose, scales[first : first + len(motion)], fps)
        head = soft_limit(head, HEAD_EXACT, HEAD_LIMIT)
        motion.dynamics[:] *= scale_of_face
        at_rest = np.zeros(N_DYNAMICS)
        lids = lid_openings(motion.dynamics, at_rest, models.geometry)
        lids = blinks.whole_blinks(lids, fps=fps)
        motion.dynamics[:, LIDS] = lids_of(lids, at_rest, models.geometry)
        return replace(motion, head_pose=head)

    bearing = max(stress.reach(MOTION_FPS), blinks.reach(MOTION_FPS))
    yield from filtered(
        each_within(on_one_core, _sampled(models, heard, lips, options)),
        finished,
        steadying.reach(MOTION_FPS) + bearing,
    )


@torch.inference_mode()
def _sampled(
    models: Models, heard: SpeechFeatures, lips: diffusion.Known, options: RenderOptions
) -> Iterator[Motion]:
    speech = torch.from_numpy(heard.stacked()).to(models.device)
    silence = _a_frame(heard.phones[:, SILENCE])
    n_frames = len(silence)
    gaze = asked_gaze(options, n_frames, MOTION_FPS)
    opening = rest_in_silence(silence) * articulate(heard.phones, n_frames)
    drawn = diffusion.sample_windows(
        models.denoiser,
        speech,
        n_frames=n_frames,
        motion_dim=N_HEAD_POSE + N_DYNAMICS,
        style=torch.tensor([STYLE], device=models.device),
        seed=options.seed,
        num_steps=options.num_steps,
        guidance_audio=options.guidance_audio,
        gaze=None if gaze is None else torch.from_numpy(gaze).to(models.device),
        guidance_gaze=options.guidance_gaze,
        liberty=torch.from_numpy(liberty()).to(models.device),
        settling=torch.from_numpy(settling()).to(models.device),
        known=lips,
    )
    bf16, done = fast_bf16(models.device), 0
    autocast = partial(torch.autocast, models.device.type, torch.bfloat16, enabled=bf16)
    for window in each_within(autocast, drawn):
        motion = (window.cpu() * models.motion_spread).numpy()
        motion[:, N_HEAD_POSE + MOUTH_OPEN] *= opening[done : done + len(motion)]
        yield Motion(motion[:, :N_HEAD_POSE], motion[:, N_HEAD_POSE:])
        done += len(motion)


def _a_frame(heard: np.ndarray) -> np.ndarray:
    """What is heard twice a frame, (2 T,) or one less, as means of frames (T,)."""
    n_frames = -(-len(heard) // 2)
    whole_frames = np.append(heard, heard[-1:])[: 2 * n_frames]
    return np.asarray(whole_frames.reshape(n_frames, 2).mean(1))
