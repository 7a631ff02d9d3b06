"""What the commands of `vasa train` share: options, progress, reading clips, writing weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import click

if TYPE_CHECKING:
    from vasa_cli.face import FaceReader
    from vasa_cli.geometry import Geometry
    from vasa_cli.training.motion_data import Take

DEFAULT_CACHE = Path(".vasa-cache")
LICENCE = "Apache-2.0"
TINY = dict(minutes=0.5, max_steps=3, batch=4, width=8)  # tries every line of a training in seconds
DATA_HELP = "Folder of videos and pictures, any layout."
CACHE_HELP = "Where labels, crops and checkpoints are kept."
OUTPUT_HELP = "Weights folder to write into."
MINUTES_HELP = "Time to train; a run resumes from its last checkpoint."
PRESET_HELP = "tiny: a few steps of a small network."
FOLDER = click.Path(path_type=Path)
EXISTING = click.Path(exists=True, file_okay=False, path_type=Path)


def data_option(help_text: str = "Folder that was prepared.") -> Callable[..., Any]:
    """`--data`, which every training needs."""
    return click.option("--data", required=True, type=EXISTING, help=help_text)


def cache_option(help_text: str = "Where its labels are.") -> Callable[..., Any]:
    """`--cache`."""
    return click.option(
        "--cache", default=DEFAULT_CACHE, type=FOLDER, help=help_text, show_default=True
    )


def output_option(help_text: str = OUTPUT_HELP) -> Callable[..., Any]:
    """`--output`."""
    return click.option(
        "--output", default=Path("weights"), type=FOLDER, help=help_text, show_default=True
    )


def begin_option() -> Callable[..., Any]:
    """`--begin`, of trainings that can go on from weights."""
    return click.option(
        "--begin",
        type=EXISTING,
        help="Folder of weights to go on from where there is no checkpoint, as `weights`.",
    )


def read_by_option(help_text: str) -> Callable[..., Any]:
    """`--read-by`, of trainings that need not learn from the teacher's points alone."""
    return click.option("--read-by", type=EXISTING, help=help_text)


def reader_of(folder: Path | None, device: str) -> FaceReader | None:
    """The reader of a folder of weights, where one is given.

    Raises: UsageError for an unknown device; WeightsError as `build`.
    """
    from vasa_cli.loading import choose_device, load_reader

    return None if folder is None else load_reader(folder, choose_device(device))


def rate_option(rate: float) -> Callable[..., Any]:
    """`--rate`, of trainings that can go on from weights, where less is enough."""
    return click.option("--rate", default=rate, show_default=True, help="Highest learning rate.")


def shared_options(
    minutes: float, batch: int, width: int
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that every training has, with a network's own defaults."""
    presets = click.Choice(["full", "tiny"])
    shown: dict[str, Any] = {"show_default": True}
    options = [
        data_option(DATA_HELP),
        cache_option(CACHE_HELP),
        output_option(),
        click.option("--device", default="cpu", help="cpu or cuda.", **shown),
        click.option("--minutes", default=minutes, type=float, help=MINUTES_HELP, **shown),
        click.option("--batch", default=batch, help="Examples a step.", **shown),
        click.option("--width", default=width, help="Channels of the network.", **shown),
        click.option("--preset", default="full", type=presets, help=PRESET_HELP, **shown),
    ]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def call(preset: str, **given: Any) -> None:
            settings = given | {"max_steps": 10**9} | (TINY if preset == "tiny" else {})
            places = [settings.pop(name) for name in ("data", "cache", "output")]
            function(*places, **settings)

        for option in reversed(options):
            call = option(call)
        return call

    return decorate


def tell(line: str) -> None:
    """Progress goes to stderr."""
    click.echo(line, err=True)


def keep(
    name: str, network: Any, output: Path, *, data: Path, extra: dict[str, Any] | None = None
) -> None:
    """Write a trained network in half precision and bring the manifest up to date."""
    import torch

    from vasa_cli import __version__
    from vasa_cli.weights import save_weights, write_manifest

    tensors = {
        k: v.detach().cpu().to(torch.float16).contiguous() for k, v in network.state_dict().items()
    }
    output.mkdir(parents=True, exist_ok=True)
    save_weights(
        output / f"{name}.safetensors", tensors | (extra or {}), name=name, dims=network.dims
    )
    write_manifest(
        output, version=__version__, licence=LICENCE, origins={name: f"trained on {data.name}"}
    )
    tell(f"wrote {output / (name + '.safetensors')}")


def gathered(data: Path, cache: Path, weights_dir: Path) -> tuple[Geometry, list[Take]]:
    """The geometry, and motion and sound of every labelled clip, fitted once for these weights."""
    import torch

    from vasa_cli.loading import build, load_geometry
    from vasa_cli.models.audio_encoder import AudioEncoder
    from vasa_cli.speech import SpeechReader
    from vasa_cli.training import motion_data
    from vasa_cli.training import prepare as preparation
    from vasa_cli.weights import load_manifest

    learned = load_geometry(weights_dir)
    ear, _ = build("audio_encoder", AudioEncoder, weights_dir, torch.device("cpu"))
    made_with = load_manifest(weights_dir).files  # takes fitted with other weights are of no use
    key = made_with["geometry"].sha256[:6] + made_with["audio_encoder"].sha256[:6]
    items, store = preparation.labelled(data, cache), cache / "takes" / key
    return learned, motion_data.gather(items, learned, SpeechReader(ear), store)
