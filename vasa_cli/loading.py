"""From weights on disk to networks ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vasa_cli.arkit import SHAPES, ArkitMap
from vasa_cli.config import N_LANDMARKS
from vasa_cli.control_values import EMOTIONS
from vasa_cli.emotion import Emotions
from vasa_cli.errors import UsageError, WeightsError
from vasa_cli.face import FaceReader
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE, N_IDENTITY, Geometry
from vasa_cli.models.articulator import Articulator
from vasa_cli.models.audio_encoder import AudioEncoder
from vasa_cli.models.blocks import channels_last_weights
from vasa_cli.models.decoder import Decoder
from vasa_cli.models.denoiser import Denoiser
from vasa_cli.models.detector import FaceDetector
from vasa_cli.models.encoder import FaceEncoder
from vasa_cli.speech import SpeechReader
from vasa_cli.weights import find_weights_dir, load_manifest, load_weights

Network = TypeVar("Network", bound=nn.Module)
GEOMETRY_SHAPES = {
    "mean": (N_LANDMARKS, 3),
    "identity_basis": (N_LANDMARKS, 3, N_IDENTITY),
    "dynamics_basis": (N_LANDMARKS, 3, N_DYNAMICS),
    "dynamics_limit": (2, N_DYNAMICS),
}
GEOMETRY_FIELDS = tuple(GEOMETRY_SHAPES)
EMOTION_SHAPES = {
    "dynamics": (len(EMOTIONS), N_DYNAMICS),
    "head": (len(EMOTIONS), 3),
    "tempo": (len(EMOTIONS),),
}
SCALE_FIELDS = ("spread", "style_mean", "style_spread")


@dataclass(frozen=True)
class Models:
    """Every network of a render, on one device."""

    reader: FaceReader
    geometry: Geometry
    ear: SpeechReader
    denoiser: Denoiser
    motion_spread: Tensor  # (D,) what one unit of sampled motion is
    emotions: Emotions
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
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # old versions of torch lack it
    able = capabilities() if capabilities else {}
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
    except (TypeError, ValueError, RuntimeError) as error:
        raise _other_version(name, weights_dir, str(error).partition("\n")[0]) from error
    return channels_last_weights(network.eval().requires_grad_(False)).to(device), others


def load_geometry(weights_dir: Path) -> Geometry:
    """The latent's mean and bases.

    Raises: WeightsError when the file is not whole.
    """
    return Geometry(**_arrays("geometry", GEOMETRY_SHAPES, weights_dir))


def load_emotions(weights_dir: Path) -> Emotions:
    """What each emotion adds.

    Raises: WeightsError when the file is not whole.
    """
    return Emotions(**_arrays("emotions", EMOTION_SHAPES, weights_dir))


def _arrays(
    name: str, shapes: Mapping[str, tuple[int, ...]], weights_dir: Path
) -> dict[str, np.ndarray]:
    """What a file without a network holds, in double precision."""
    tensors, _ = load_weights(name, weights_dir=weights_dir)
    for field, shape in shapes.items():
        if field not in tensors:
            raise _other_version(name, weights_dir, f"{field} is missing")
        if tensors[field].shape != shape:
            seen = f"{field} is {tuple(tensors[field].shape)}, not {shape}"
            raise _other_version(name, weights_dir, seen)
    return {field: tensors[field].numpy().astype(np.float64) for field in shapes}


def load_arkit(weights_dir: Path) -> ArkitMap:
    """The map between dynamics and ARKit's blend shapes.

    Raises: WeightsError when its file is not whole, or was learned with another geometry.
    """
    tensors, dims = load_weights("arkit", weights_dir=weights_dir)
    shapes = {"weights": (N_DYNAMICS, len(SHAPES)), "bias": (len(SHAPES),), "noise": (len(SHAPES),)}
    for field, shape in shapes.items():
        if field not in tensors or tensors[field].shape != shape:
            raise _other_version("arkit", weights_dir, f"{field} is missing or of another shape")
    if dims.get("basis") != load_manifest(weights_dir).files["geometry"].sha256:
        raise WeightsError(
            f"arkit weights in {weights_dir} were learned with another geometry;"
            " run `vasa train arkit` after `vasa train geometry`"
        )
    return ArkitMap(*(tensors[field].numpy().astype(np.float64) for field in shapes))


def load_reader(weights_dir: Path, device: torch.device) -> FaceReader:
    """Only what reads faces: detector, encoder and geometry.

    Raises: WeightsError when any is missing, damaged or of another version.
    """
    geometry = load_geometry(weights_dir)  # no network: told at once when it is not whole
    detector, _ = build("detector", FaceDetector, weights_dir, device)
    encoder, _ = build("encoder", FaceEncoder, weights_dir, device)
    return FaceReader(detector, encoder, geometry, device=device, bf16=fast_bf16(device))


def load_models(weights_dir: Path | None, device: torch.device) -> Models:
    """All networks.

    Raises: WeightsError when any is missing, damaged or of another version.
    """
    folder = find_weights_dir(weights_dir)
    reader = load_reader(folder, device)
    ear, _ = build("audio_encoder", AudioEncoder, folder, device)
    articulator, _ = build("articulator", Articulator, folder, device)
    denoiser, scale = build("motion", Denoiser, folder, device)
    spread = scale.get("spread")
    if spread is None or spread.shape != (N_HEAD_POSE + N_DYNAMICS,):
        raise _other_version("motion", folder, "spread is missing or of another length")
    decoder, _ = build("decoder", Decoder, folder, device)
    decoder.settle(bf16=fast_bf16(device))
    if fast_bf16(device):
        denoiser.settle()
    return Models(
        reader,
        reader.geometry,
        SpeechReader(ear, device, articulator=articulator),
        denoiser,
        spread.float(),
        load_emotions(folder),
        decoder,
        device,
    )


def _other_version(name: str, weights_dir: Path, seen: str) -> WeightsError:
    """Whole files, but not this program's: `vasa weights verify` would find nothing wrong."""
    return WeightsError(
        f"{name} weights in {weights_dir} are of another version ({seen});"
        " give the weights that came with this vasa"
    )
