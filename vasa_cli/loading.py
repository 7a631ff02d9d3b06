"""From weights on disk to networks ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vasa_cli.errors import UsageError, WeightsError
from vasa_cli.face import FaceReader
from vasa_cli.geometry import Geometry
from vasa_cli.models.audio_encoder import AudioEncoder
from vasa_cli.models.blocks import channels_last_weights
from vasa_cli.models.decoder import Decoder
from vasa_cli.models.denoiser import Denoiser
from vasa_cli.models.detector import FaceDetector
from vasa_cli.models.encoder import FaceEncoder
from vasa_cli.speech import SpeechReader
from vasa_cli.weights import find_weights_dir, load_weights

Network = TypeVar("Network", bound=nn.Module)
GEOMETRY_FIELDS = ("mean", "identity_basis", "dynamics_basis", "dynamics_limit")
SCALE_FIELDS = ("spread", "style_mean", "style_spread")


@dataclass(frozen=True)
class Models:
    """Every network of a render, on one device."""

    reader: FaceReader
    geometry: Geometry
    ear: SpeechReader
    denoiser: Denoiser
    motion_spread: Tensor  # (D,) what one unit of sampled motion is
    decoder: Decoder
    device: torch.device


def choose_device(name: str) -> torch.device:
    """The device of a name; auto takes CUDA, then Apple's GPU, then the CPU.

    Raises: UsageError when this machine does not have it.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = next(k for k in ("cuda", "mps", "cpu") if there[k])
    if not there.get(name, False):
        have = ", ".join(k for k, v in there.items() if v)
        raise UsageError(f"device {name} is not available here; choose from auto, {have}")
    return torch.device(name)


def fast_bf16(device: torch.device) -> bool:
    """Whether convolutions are faster in bfloat16 here than in float32.

    They are on GPUs, and on CPUs with instructions for it.
    """
    if device.type != "cpu":
        return device.type == "cuda"
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def build(
    name: str, make: Callable[..., Network], weights_dir: Path, device: torch.device
) -> tuple[Network, dict[str, Tensor]]:
    """A network with its weights, ready to run, and what else its file holds.

    Raises: WeightsError when the file does not fit the network.
    """
    tensors, dims = load_weights(name, weights_dir=weights_dir)
    others = {k: tensors.pop(k) for k in list(tensors) if k in GEOMETRY_FIELDS + SCALE_FIELDS}
    try:
        network = make(**dims)
        network.load_state_dict({k: v.float() for k, v in tensors.items()})
    except (TypeError, RuntimeError) as error:
        detail = str(error).splitlines()[0]
        raise WeightsError(
            f"{name} weights in {weights_dir} are of another version ({detail});"
            " run vasa weights verify"
        ) from error
    return channels_last_weights(network.eval().requires_grad_(False)).to(device), others


def load_geometry(weights_dir: Path) -> Geometry:
    """The latent's mean and bases.

    Raises: WeightsError when the file is not whole.
    """
    tensors, _ = load_weights("geometry", weights_dir=weights_dir)
    missing = [f for f in GEOMETRY_FIELDS if f not in tensors]
    if missing:
        raise WeightsError(
            f"geometry weights in {weights_dir} lack {', '.join(missing)}; run vasa weights verify"
        )
    return Geometry(*(tensors[f].numpy().astype(np.float64) for f in GEOMETRY_FIELDS))


def load_models(weights_dir: Path | None, device: torch.device) -> Models:
    """All networks.

    Raises: WeightsError when any is missing, damaged or of another version.
    """
    folder = find_weights_dir(weights_dir)
    geometry = load_geometry(folder)
    detector, _ = build("detector", FaceDetector, folder, device)
    encoder, _ = build("encoder", FaceEncoder, folder, device)
    ear, _ = build("audio_encoder", AudioEncoder, folder, device)
    denoiser, scale = build("motion", Denoiser, folder, device)
    decoder, _ = build("decoder", Decoder, folder, device)
    decoder.bf16 = fast_bf16(device)
    return Models(
        FaceReader(detector, encoder, geometry, device=device),
        geometry,
        SpeechReader(ear, device),
        denoiser,
        scale["spread"].float(),
        decoder,
        device,
    )
