"""Labelled clips and pictures from a folder of any videos and pictures, through a disk cache."""

from __future__ import annotations

import csv
import hashlib
import io
import mmap
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from vasa_cli.config import N_LANDMARKS
from vasa_cli.errors import InputError
from vasa_cli.training.teacher import VIDEO_SUFFIXES, cache_stem

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
VALIDATION_SHARE = 10  # one person in ten is kept for validation


@dataclass(frozen=True)
class Item:
    """One labelled clip or picture."""

    path: Path
    stem: Path  # of its files in the cache
    source: str
    kind: str  # "real", "ai" or "picture"
    validation: bool
    # left, top, right, bottom as fractions of the frame
    valid_box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Labels:
    """What the teacher saw in every frame of one item."""

    offsets: np.ndarray  # (T + 1,) of each JPEG in the pack
    size: tuple[int, int]  # height, width in pixels
    fps: float
    points: np.ndarray  # (T, 478, 3) pixels
    found: np.ndarray  # (T,)
    blendshapes: np.ndarray  # (T, 52)


def is_validation(key: str) -> bool:
    """Whether a person belongs to the validation split; stable over runs and machines.

    Where the person is unknown, the key is the file's.
    """
    return int(hashlib.sha1(key.encode()).hexdigest(), 16) % VALIDATION_SHARE == 0


def person_key(source: str, path: Path) -> str:
    """Source and person where the name tells it, else source and file.

    Names that tell it: name_NNN_expression, speaker-chapter-utterance.
    """
    stem = re.sub(r"_(neutral|smiling)$", "", path.stem)
    stem = re.sub(r"^(libri_\d+)-.*", r"\1", stem)
    return f"{source} {stem if stem != path.stem else path.name}"


def find_files(folder: Path) -> list[Path]:
    """Every video and picture under a folder, in a fixed order.

    Raises: InputError when there is none.
    """
    suffixes = VIDEO_SUFFIXES | PICTURE_SUFFIXES
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    if not files:
        raise InputError(
            f"no video or picture in {folder}; give a folder of face clips or portraits"
        )
    return files


def find_items(folder: Path, cache: Path, *, labelled: bool = True) -> list[Item]:
    """Items of a folder: those that are labelled, or all.

    Tables `*.csv` with a `file` column add source, kind and the valid box.

    Raises: InputError when there is none, or nothing of the folder is labelled yet.
    """
    notes: dict[str, dict[str, str]] = {}
    for table in sorted(folder.glob("*.csv")):
        with open(table, newline="", encoding="utf-8") as file:
            notes |= {row["file"]: row for row in csv.DictReader(file) if row.get("file")}
    items = []
    for path in find_files(folder):
        stem = cache / cache_stem(path)
        if labelled and not is_labelled(stem):
            continue
        note = notes.get(path.relative_to(folder).as_posix(), {})
        source = note.get("source") or path.parent.name
        kind = note.get("kind", "real") if path.suffix.lower() in VIDEO_SUFFIXES else "picture"
        validation = is_validation(person_key(source, path))
        items.append(Item(path, stem, source, kind, validation, valid_box(note)))
    if not items:
        raise InputError(
            f"nothing of {folder} is labelled in {cache}; run vasa train prepare first"
        )
    return items


def is_labelled(stem: Path) -> bool:
    """Whether the cache holds labels under a stem."""
    return stem.with_name(stem.name + ".npz").exists()


def valid_box(note: dict[str, str]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what the camera saw; the whole frame where nothing is noted."""
    left, top = float(note.get("valid_x0", 0)), float(note.get("valid_y0", 0))
    return left, top, float(note.get("valid_x1", 1)), float(note.get("valid_y1", 1))


@lru_cache(maxsize=None)
def load_labels(item: Item) -> Labels:
    """What the cache holds of an item."""
    with np.load(item.stem.with_name(item.stem.name + ".npz")) as stored:
        return Labels(
            stored["offsets"],
            (int(stored["size"][0]), int(stored["size"][1])),
            float(stored["fps"]) or 25.0,
            stored["points"].reshape(-1, N_LANDMARKS, 3),
            stored["found"],
            stored["blendshapes"].astype(np.float32),
        )


@lru_cache(maxsize=None)
def _frame_pack(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def load_frame(item: Item, index: int) -> np.ndarray:
    """One frame (H, W, 3) uint8."""
    offsets = load_labels(item).offsets
    pack = _frame_pack(item.stem.with_name(item.stem.name + ".frames"))
    return np.asarray(
        Image.open(io.BytesIO(pack[offsets[index] : offsets[index + 1]])).convert("RGB")
    )
