"""`vasa train articulator`: what faces most likely do while a sound is heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vasa_cli.cli.train_options import (
    begin_option,
    gathered,
    keep,
    rate_option,
    shared_options,
    tell,
)


@click.command(epilog="\b\nExample:\n  vasa train articulator --data clips/ --minutes 15")
@shared_options(minutes=15, batch=48, width=160)
@begin_option()
@rate_option(1e-3)
def articulator(data: Path, cache: Path, output: Path, **settings: Any) -> None:
    """Train the lips' regressor on clips with sound; needs geometry and audio-encoder."""
    import torch

    from vasa_cli.loading import build
    from vasa_cli.models.audio_encoder import AudioEncoder
    from vasa_cli.training import articulator as training

    learned, takes = gathered(data, cache, output)
    ear, _ = build("audio_encoder", AudioEncoder, output, torch.device("cpu"))
    folder = cache / "runs" / "articulator"
    made = training.train(folder, takes, learned, ear, report=tell, **settings)
    keep("articulator", made, output, data=data)
