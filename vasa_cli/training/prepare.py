"""From a folder of videos and pictures to labels and crops in a cache.

What is there is not made again.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Callable

from vasa_cli.errors import InputError, ResourceError
from vasa_cli.geometry import Geometry
from vasa_cli.training import crops, teacher
from vasa_cli.training.data import Item, find_files, find_items


def label(
    folder: Path,
    cache: Path,
    *,
    teacher_python: Path,
    model: Path,
    workers: int,
    report: Callable[[str], None],
) -> None:
    """Have the teacher label every file of a folder, in its own interpreter.

    Raises: InputError when the interpreter or the model is missing; ResourceError when the teacher
        fails.
    """
    for path, what in (
        (teacher_python, "the teacher's interpreter (make teacher)"),
        (model, "the teacher's model"),
    ):
        if not path.is_file():
            raise InputError(f"{path} not found; give {what}")
    labels = cache / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    files = [
        f for f in find_files(folder) if not (labels / f"{teacher.cache_stem(f)}.npz").exists()
    ]
    report(f"{len(files)} files to label")
    command = [str(teacher_python), teacher.__file__, str(model), str(labels)]
    running = []
    for k in range(workers):
        # from a file: a pipe holds 64 KiB, and the next worker would wait until this one has read
        with tempfile.TemporaryFile("w+") as listed:
            listed.write("".join(f"{f}\n" for f in files[k::workers]))
            listed.seek(0)
            running.append(
                subprocess.Popen(
                    command,
                    stdin=listed,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
    if any(process.wait() for process in running):
        raise ResourceError(f"the teacher failed; run it by hand to see why: {' '.join(command)}")


def cut_crops(
    folder: Path, cache: Path, geometry: Geometry, *, report: Callable[[str], None]
) -> None:
    """Store the crops of all labelled clips and pictures of a folder."""
    items = find_items(folder, cache / "labels")
    for name, side, chosen in (
        ("portraits", crops.PICTURE_SIDE, [i for i in items if i.kind == "picture"]),
        ("clips", crops.CLIP_SIDE, [i for i in items if i.kind != "picture"]),
    ):
        if chosen and not (cache / f"{name}.npy").exists():
            report(f"cutting {len(chosen)} {name}")
            crops.build(chosen, geometry, cache / name, side=side)


def labelled(folder: Path, cache: Path) -> list[Item]:
    """Labelled items of a folder.

    Raises: InputError when there is none.
    """
    return find_items(folder, cache / "labels")
