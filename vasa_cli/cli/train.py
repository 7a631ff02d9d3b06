"""`vasa train`: labels, crops and one command a network; for labs that have data and time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vasa_cli.cli.train_articulator import articulator
from vasa_cli.cli.train_emotions import emotions
from vasa_cli.cli.train_options import (
    EXISTING,
    LICENCE,
    begin_option,
    cache_option,
    data_option,
    gathered,
    keep,
    output_option,
    rate_option,
    read_by_option,
    reader_of,
    shared_options,
    tell,
)

CORPUS_HOURS = 2.5  # of synthesised speech for the phonetic ear


@click.group(
    commands=[articulator, emotions], epilog="\b\nExample:\n  vasa train encoder --data clips/"
)
def train() -> None:
    """Train the networks on your own clips and portraits.

    The order is prepare, geometry (which cuts the crops), arkit, emotions, then detector, encoder,
    decoder, audio-encoder, articulator, motion, capp.
    """


@train.command(
    epilog="\b\nExample:\n  vasa train prepare --data clips/ --teacher-python .teacher/bin/python"
    " --teacher-model face_landmarker.task"
)
@data_option("Folder of videos and pictures.")
@cache_option("Where labels are kept.")
@click.option(
    "--teacher-python",
    default=Path(".teacher/bin/python"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Interpreter that has mediapipe (make teacher).",
)
@click.option(
    "--teacher-model",
    required=True,
    type=click.Path(path_type=Path),
    help="MediaPipe's face_landmarker.task.",
)
@click.option("--workers", default=2, show_default=True, help="Labelling processes.")
def prepare(
    data: Path, cache: Path, teacher_python: Path, teacher_model: Path, workers: int
) -> None:
    """Label every frame of a folder with the teacher; what is labelled already is left alone."""
    from vasa_cli.training import prepare as preparation

    preparation.label(
        data,
        cache,
        teacher_python=teacher_python,
        model=teacher_model,
        workers=workers,
        report=tell,
    )


@train.command(epilog="\b\nExample:\n  vasa train geometry --data clips/")
@shared_options(minutes=1, batch=1, width=1)
def geometry(data: Path, cache: Path, output: Path, **_: Any) -> None:
    """Learn the latent's mean and bases, then cut the crops that the other trainings read."""
    import torch

    from vasa_cli import __version__
    from vasa_cli.loading import GEOMETRY_FIELDS
    from vasa_cli.training import geometry as learning
    from vasa_cli.training import prepare as preparation
    from vasa_cli.weights import save_weights, write_manifest

    items = preparation.labelled(data, cache)
    learned = learning.learn([i for i in items if not i.validation])
    tensors = {
        field: torch.from_numpy(getattr(learned, field)).float().contiguous()
        for field in GEOMETRY_FIELDS
    }
    output.mkdir(parents=True, exist_ok=True)
    dims = {
        "n_identity": learned.identity_basis.shape[2],
        "n_dynamics": learned.dynamics_basis.shape[2],
    }
    save_weights(output / "geometry.safetensors", tensors, name="geometry", dims=dims)
    write_manifest(
        output,
        version=__version__,
        licence=LICENCE,
        origins={"geometry": f"trained on {data.name}"},
    )
    preparation.cut_crops(data, cache, learned, report=tell)


@train.command(epilog="\b\nExample:\n  vasa train arkit --data clips/")
@data_option()
@cache_option()
@output_option()
def arkit(data: Path, cache: Path, output: Path) -> None:
    """Learn the map to ARKit's blend shapes from the labels; needs geometry in --output.

    Its errors on validation people are printed as JSON.
    """
    import torch

    from vasa_cli import __version__
    from vasa_cli.loading import load_geometry
    from vasa_cli.training import arkit as learning
    from vasa_cli.training import prepare as preparation
    from vasa_cli.weights import load_manifest, save_weights, write_manifest

    items = preparation.labelled(data, cache)
    learned, figures = learning.learn(items, load_geometry(output))
    tensors = {k: torch.from_numpy(v).float().contiguous() for k, v in vars(learned).items()}
    dims = {"basis": load_manifest(output).files["geometry"].sha256}
    save_weights(output / "arkit.safetensors", tensors, name="arkit", dims=dims)
    origins = {"arkit": f"computed from labels of {data.name}"}
    write_manifest(output, version=__version__, licence=LICENCE, origins=origins)
    click.echo(json.dumps(figures, indent=1))


@train.command(epilog="\b\nExample:\n  vasa train detector --data clips/ --minutes 8")
@shared_options(minutes=8, batch=32, width=32)
@begin_option()
@rate_option(1e-3)
def detector(data: Path, cache: Path, output: Path, **settings: Any) -> None:
    """Train the face detector on composed pictures."""
    from vasa_cli.training import detector as training

    keep(
        "detector",
        training.train(cache / "runs" / "detector", cache, report=tell, **settings),
        output,
        data=data,
    )


@train.command(epilog="\b\nExample:\n  vasa train encoder --data clips/ --minutes 21")
@shared_options(minutes=21, batch=64, width=48)
@begin_option()
@rate_option(1.2e-3)
@click.option(
    "--only",
    "parts",
    multiple=True,
    type=click.Choice(["face", "lips", "eye"]),
    help="Train only this regressor; may be repeated.",
)
@read_by_option("Folder of weights whose encoder's points are learned as well as the teacher's.")
def encoder(
    data: Path,
    cache: Path,
    output: Path,
    parts: tuple[str, ...],
    read_by: Path | None,
    **settings: Any,
) -> None:
    """Train the face encoder on crops under hard augmentation; needs geometry in --output."""
    from vasa_cli.loading import load_geometry
    from vasa_cli.training import encoder as training

    made = training.train(
        cache / "runs" / "encoder",
        cache,
        load_geometry(output),
        parts=parts or training.PARTS,
        reader=reader_of(read_by, settings["device"]),
        report=tell,
        **settings,
    )
    keep("encoder", made, output, data=data)


@train.command(epilog="\b\nExample:\n  vasa train decoder --data clips/ --judge mobilefacenet.ckpt")
@shared_options(minutes=60, batch=8, width=32)
@click.option(
    "--judge",
    type=click.Path(path_type=Path),
    help="MobileFaceNet checkpoint for a perceptual loss, as the weights here had; none without.",
)
@click.option(
    "--gan-from",
    default=0.35,
    show_default=True,
    help="Share of the run after which the critics join.",
)
@click.option(
    "--only",
    "parts",
    multiple=True,
    type=click.Choice(["motion", "mouth", "eye"]),
    help="Train only this part; may be repeated.",
)
@click.option(
    "--afresh",
    multiple=True,
    type=click.Choice(["motion", "mouth", "eye"]),
    help="Let this part begin anew; may be repeated.",
)
@read_by_option("Folder of weights whose encoder reads the points, instead of the teacher's.")
@begin_option()
@rate_option(5e-4)
def decoder(
    data: Path,
    cache: Path,
    output: Path,
    parts: tuple[str, ...],
    afresh: tuple[str, ...],
    begin: Path | None,
    read_by: Path | None,
    **settings: Any,
) -> None:
    """Train the decoder on pairs of frames."""
    from vasa_cli.loading import load_geometry
    from vasa_cli.training import decoder as training

    learned = load_geometry(output)
    gan_starts = settings.pop("gan_from")
    made = training.train(
        cache / "runs" / "decoder",
        cache,
        learned,
        gan_starts=gan_starts,
        parts=parts or training.PARTS,
        afresh=afresh,
        begin=begin,
        reader=reader_of(read_by, settings["device"]),
        report=tell,
        **settings,
    )
    keep("decoder", made, output, data=data)


@train.command(
    name="audio-encoder",
    epilog="\b\nExample:\n  vasa train audio-encoder --data clips/ --minutes 7",
)
@shared_options(minutes=7, batch=32, width=160)
@click.option(
    "--speech",
    type=EXISTING,
    help="Folder of English speech to learn from as well, aligned by pocketsphinx (extra `align`).",
)
def audio_encoder(
    data: Path, cache: Path, output: Path, speech: Path | None, **settings: Any
) -> None:
    """Train the phonetic ear on synthesised speech of many languages (espeak-ng must be there)."""
    from vasa_cli.training import alignment, speech_corpus
    from vasa_cli.training import audio_encoder as training

    speech_corpus.make(cache / "speech", hours=CORPUS_HOURS, report=tell)
    if speech is not None:
        alignment.make(cache / "speech", speech, report=tell)
    keep(
        "audio_encoder",
        training.train(cache / "runs" / "audio_encoder", cache, report=tell, **settings),
        output,
        data=data,
    )


@train.command(epilog="\b\nExample:\n  vasa train motion --data clips/ --minutes 11")
@shared_options(minutes=11, batch=48, width=256)
@click.option("--layers", default=6, show_default=True, help="Transformer layers.")
def motion(data: Path, cache: Path, output: Path, layers: int, **settings: Any) -> None:
    """Train the denoiser on clips with sound; needs geometry and audio-encoder in --output."""
    from vasa_cli.training import motion as training

    learned, takes = gathered(data, cache, output)
    made, scale = training.train(
        cache / "runs" / "motion", takes, learned, n_layers=layers, report=tell, **settings
    )
    extra = {k: v.contiguous() for k, v in vars(scale).items()}
    keep("motion", made, output, data=data, extra=extra)


@train.command(epilog="\b\nExample:\n  vasa train capp --data clips/ --minutes 4")
@shared_options(minutes=4, batch=96, width=64)
def capp(data: Path, cache: Path, output: Path, **settings: Any) -> None:
    """Train CAPP, which scores how well motion and sound belong together; needs what motion needs.

    No render uses it; `vasa evaluate motion` does.
    """
    from vasa_cli.training import capp as training

    learned, takes = gathered(data, cache, output)
    made = training.train(cache / "runs" / "capp", takes, learned, report=tell, **settings)
    keep("capp", made, output, data=data)


@train.command(epilog="\b\nExample:\n  vasa train report --data clips/")
@data_option()
@cache_option()
@click.option(
    "--weights-dir", default=None, type=click.Path(path_type=Path), help="Weights to measure."
)
@click.option("--limit", default=None, type=int, help="At most about so many frames.")
def report(data: Path, cache: Path, weights_dir: Path | None, limit: int | None) -> None:
    """Measure detector, encoder and geometry on validation people; JSON on stdout."""
    import torch

    from vasa_cli.loading import load_models
    from vasa_cli.training import prepare as preparation
    from vasa_cli.training import report as figures

    models = load_models(weights_dir, torch.device("cpu"))
    items = preparation.labelled(data, cache)
    found = figures.report(models.reader, items, limit=limit, tell=tell)
    click.echo(json.dumps(found, indent=1))
