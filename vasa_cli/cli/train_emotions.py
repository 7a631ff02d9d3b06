"""`vasa train emotions`: what each emotion does to a face, in closed form."""

from __future__ import annotations

from pathlib import Path

import click

from vasa_cli.cli.train_options import LICENCE, cache_option, data_option, output_option, tell


@click.command(epilog="\b\nExample:\n  vasa train emotions --data clips/")
@data_option()
@cache_option()
@output_option("Weights folder to write into; it has geometry already.")
def emotions(data: Path, cache: Path, output: Path) -> None:
    """Learn what each emotion adds to a face from the labels; seconds to minutes, no gradient."""
    import torch

    from vasa_cli import __version__
    from vasa_cli.control_values import EMOTIONS
    from vasa_cli.loading import EMOTION_SHAPES, load_geometry
    from vasa_cli.training import emotions as learning
    from vasa_cli.training import prepare as preparation
    from vasa_cli.weights import save_weights, write_manifest

    items = [item for item in preparation.labelled(data, cache) if not item.validation]
    learned = learning.learn(items, load_geometry(output), report=tell)
    tensors = {
        field: torch.from_numpy(getattr(learned, field)).float().contiguous()
        for field in EMOTION_SHAPES
    }
    dims = {"emotions": list(EMOTIONS)}
    path = output / "emotions.safetensors"
    save_weights(path, tensors, name="emotions", dims=dims)
    origins = {"emotions": f"computed from labels of {data.name}"}
    write_manifest(output, version=__version__, licence=LICENCE, origins=origins)
    tell(f"wrote {path}")
