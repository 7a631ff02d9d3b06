"""Files by path or by URL: plain paths on disk, and what fsspec opens, as s3://bucket/talk.mp4.

A path travels as text, since pathlib would turn s3://bucket into s3:/bucket. A write is atomic: a
rename on disk, one put on object storage.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import shutil
from pathlib import Path
from typing import Any, Iterator, Mapping

from vasa_cli.errors import USED_UP, InputError, ResourceError, UsageError, VasaError

_CHUNK_BYTES = 1 << 20


def is_remote(path: str) -> bool:
    """Whether a path is a URL that fsspec opens."""
    return "://" in path


def resolve(text: str, folder: str) -> str:
    """An absolute path or URL from one that may be relative to a folder or a folder's URL."""
    if is_remote(text):
        return text
    if is_remote(folder):
        if text.startswith("/"):  # of this machine, not of the storage
            return os.path.normpath(text)
        scheme, rest = folder.split("://", 1)
        return f"{scheme}://{posixpath.normpath(posixpath.join(rest, text))}"
    return os.path.normpath(os.path.join(os.path.abspath(folder), text))


def parent(path: str) -> str:
    """The folder that a file lies in."""
    return path.rsplit("/", 1)[0] if is_remote(path) else os.path.dirname(os.path.abspath(path))


def name(path: str) -> str:
    """The last part of a path."""
    return path.rsplit("/", 1)[-1] if is_remote(path) else os.path.basename(path)


def identity(path: str) -> str:
    """The same text for two ways to name one file, links in its folders followed."""
    if is_remote(path):
        return path
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def n_bytes(path: str) -> int | None:
    """The size of a file; None when there is none."""
    if not is_remote(path):
        return os.path.getsize(path) if os.path.isfile(path) else None
    with _explained(path):
        system, inner = _open_system(path)
        system.invalidate_cache()
        return int(system.size(inner)) if system.isfile(inner) else None


def sha256(path: str) -> str | None:
    """The SHA-256 of a file's content, in hex; None when it is missing or cannot be read.

    Raises:
        ResourceError: the storage does not answer.
    """
    digest = hashlib.sha256()
    try:
        with _open(path) as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                digest.update(chunk)
    except (OSError, InputError):
        return None
    return digest.hexdigest()


def read_bytes(path: str) -> bytes:
    """A file's content.

    Raises:
        InputError: it is missing or cannot be read.
        ResourceError: the storage does not answer.
    """
    try:
        with _open(path) as opened:
            content: bytes = opened.read()
            return content
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def write_bytes(path: str, content: bytes) -> None:
    """Puts a file in place at once, so that no reader ever sees a part of it."""
    if is_remote(path):
        with _explained(path):
            system, inner = _open_system(path)
            system.pipe_file(inner, content)
        return
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.tmp")
    try:
        Path(temporary).write_bytes(content)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def write_many(contents: Mapping[str, bytes]) -> None:
    """`write_bytes` of many files; those of one object storage go in parallel where it can."""
    by_scheme: dict[str, dict[str, bytes]] = {}
    for path, content in contents.items():
        if is_remote(path):
            by_scheme.setdefault(path.split("://")[0], {})[path] = content
        else:
            write_bytes(path, content)
    for paths in by_scheme.values():
        with _explained(next(iter(paths))):
            system, _ = _open_system(next(iter(paths)))
            system.pipe({system._strip_protocol(path): data for path, data in paths.items()})


def make_folder(path: str) -> None:
    """Makes a folder on disk; object storage has none to make.

    Raises:
        UsageError: it cannot be made, or not be written to.
    """
    if is_remote(path):
        return
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        if error.errno in USED_UP:
            raise
        raise UsageError(f"output folder {path} cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"output folder {path} is read-only; name a folder you can write to")


def stage(path: str, folder: Path) -> Path:
    """A file on disk with this content: itself, or a copy of a remote file in `folder`.

    Raises:
        InputError: the remote file is missing or may not be read.
        ResourceError: the storage does not answer, or the disk is full.
    """
    if not is_remote(path):
        return Path(path)
    local = folder / name(path)
    if not local.exists():
        partial = local.with_name(f".{local.name}.part")
        with _open(path) as opened, partial.open("wb") as copy:
            shutil.copyfileobj(opened, copy, _CHUNK_BYTES)
        os.replace(partial, local)
    return local


def publish(local: Path, path: str) -> None:
    """Puts a finished local file at a URL; does nothing when it is already at its path."""
    if is_remote(path):
        with _explained(path):
            system, inner = _open_system(path)
            system.put_file(str(local), inner)


def find(folder: str, suffix: str) -> list[str]:
    """The files in a folder and below whose names end so, sorted; hidden ones are left out.

    Raises:
        UsageError: there is no such folder.
    """
    if is_remote(folder):
        with _explained(folder):
            system, inner = _open_system(folder)
            system.invalidate_cache()
            found = [system.unstrip_protocol(path) for path in system.find(inner)]
    elif not os.path.isdir(folder):
        raise UsageError(f"{folder} is not a folder; give the folder of a batch's outputs")
    else:
        found = [
            os.path.join(inside, file) for inside, _, files in os.walk(folder) for file in files
        ]
    return sorted(path for path in found if path.endswith(suffix) and name(path)[0] != ".")


@contextlib.contextmanager
def _open(path: str) -> Iterator[Any]:
    if not is_remote(path):
        with open(path, "rb") as opened:
            yield opened
        return
    with _explained(path):
        system, inner = _open_system(path)
        with system.open(inner, "rb") as opened:
            yield opened


def _open_system(path: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the URL as that system names it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError(
            f"{path} is on other storage; install it: python -m pip install 'vasa-cli[storage]'"
        ) from None
    try:
        system, inner = url_to_fs(path)
    except (ImportError, ValueError) as error:  # a storage without its package; an unknown one
        raise UsageError(f"{path} cannot be opened: {error}") from error
    return system, inner


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turns a storage's errors into vasa's: what is missing is bad input, all else may pass."""
    try:
        yield
    except VasaError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path} does not exist or may not be read ({error})") from error
    except Exception as error:  # every storage brings errors of its own
        raise ResourceError(
            f"the storage of {path} failed ({type(error).__name__}: {error}); run again"
        ) from error
