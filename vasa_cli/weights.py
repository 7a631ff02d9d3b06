"""The trained weights: where they lie, whether they are whole, and what is in them.

A weights folder holds one safetensors file a network and manifest.json, which names every file with
its size, SHA-256, licence and origin. Each file carries its network's dimensions in its own header.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from vasa_cli.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1  # of the manifest and of the header in each file
MANIFEST_NAME = "manifest.json"
WEIGHTS_NAMES = (
    "detector",
    "encoder",
    "geometry",
    "arkit",
    "audio_encoder",
    "articulator",
    "motion",
    "emotions",
    "decoder",
)
MEASURING_NAMES = ("capp",)  # networks that no render needs; a folder may lack them
PACKAGE_DIR = Path(__file__).resolve().parent

_MEND = "run `vasa weights verify` and fetch the weights again"


@dataclass(frozen=True)
class WeightsFile:
    """One line of the manifest."""

    file: str
    bytes: int
    sha256: str
    licence: str
    origin: str  # what it was trained on


@dataclass(frozen=True)
class Manifest:
    """What a weights folder should hold."""

    version: str
    files: Mapping[str, WeightsFile]


def find_weights_dir(explicit: Path | None = None) -> Path:
    """The weights folder: the one given, else $VASA_WEIGHTS, the checkout's, the installed wheel's.

    Raises:
        WeightsError: a folder that was asked for has no manifest, or none was found.
    """
    asked = os.environ.get("VASA_WEIGHTS")
    if explicit is None and not asked:
        usual = (PACKAGE_DIR.parent / "weights", PACKAGE_DIR / "_weights")
        for candidate in usual:
            if (candidate / MANIFEST_NAME).is_file():
                return candidate
        raise WeightsError(
            f"no weights found in {usual[0]} or {usual[1]}; "
            "install vasa again, or give --weights-dir or $VASA_WEIGHTS"
        )
    chosen, origin = (
        (explicit, "--weights-dir") if explicit else (Path(str(asked)), "$VASA_WEIGHTS")
    )
    if not (chosen / MANIFEST_NAME).is_file():
        raise WeightsError(
            f"no {MANIFEST_NAME} in {chosen} ({origin}); give a folder with vasa's weights"
        )
    return chosen


def load_manifest(weights_dir: Path) -> Manifest:
    """The manifest of a weights folder.

    Raises:
        WeightsError: it is missing, no JSON, of another format or lacks a field.
    """
    path = weights_dir / MANIFEST_NAME
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        found = plain["format"]
        files = {name: WeightsFile(**entry) for name, entry in plain["files"].items()}
        manifest = Manifest(version=str(plain["version"]), files=files)
    except FileNotFoundError:
        raise WeightsError(f"{path} is missing; give a folder with vasa's weights") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is damaged ({type(error).__name__}: {error}); {_MEND}"
        ) from error
    if found != FORMAT:
        raise WeightsError(f"{path} has format {found}, this vasa reads {FORMAT}; {_MEND}")
    for entry in files.values():
        if Path(entry.file).name != entry.file:
            raise WeightsError(
                f"{path} names {entry.file}, which is not a plain file name; {_MEND}"
            )
    return manifest


def load_weights(name: str, *, weights_dir: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of one network, on the CPU, and the dimensions to build it with.

    Raises:
        WeightsError: the file is missing, truncated, damaged, or of another network or format.
    """
    from safetensors import safe_open

    path = _check_file(name, load_manifest(weights_dir), weights_dir)
    dims = _read_dims(name, path)
    with safe_open(path, framework="pt", device="cpu") as opened:
        return {key: opened.get_tensor(key) for key in opened.keys()}, dims


def verify(weights_dir: Path) -> dict[str, WeightsError | None]:
    """What is wrong with each network's file; None where it is whole.

    Raises:
        WeightsError: the manifest itself cannot be read.
    """
    manifest = load_manifest(weights_dir)
    faults: dict[str, WeightsError | None] = {}
    for name in dict.fromkeys((*WEIGHTS_NAMES, *manifest.files)):
        try:
            _read_dims(name, _check_file(name, manifest, weights_dir))
            faults[name] = None
        except WeightsError as fault:
            faults[name] = fault
    return faults


def save_weights(
    path: Path, tensors: Mapping[str, Tensor], *, name: str, dims: Mapping[str, Any]
) -> None:
    """Writes one network's file under a temporary name and renames it.

    Args:
        dims: what its constructor takes; plain JSON values.
    """
    from safetensors.torch import save_file

    metadata = {
        "format_version": str(FORMAT),
        "name": name,
        "dims": json.dumps(dims, sort_keys=True),
    }
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(plain, temporary, metadata=metadata)
        temporary.chmod(0o644)  # safetensors lets only its owner read it
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_manifest(
    weights_dir: Path, *, version: str, licence: str, origins: Mapping[str, str] | None = None
) -> Manifest:
    """Writes manifest.json for the files NAME.safetensors that are there, and returns it.

    Args:
        origins: what each network was trained on; one not named keeps what the manifest says.

    Raises:
        UsageError: the origin of a file is neither given nor known.
    """
    path = weights_dir / MANIFEST_NAME
    known = load_manifest(weights_dir).files if path.exists() else {}
    files: dict[str, WeightsFile] = {}
    for name in (*WEIGHTS_NAMES, *MEASURING_NAMES):
        file = weights_dir / f"{name}.safetensors"
        if not file.is_file():
            continue
        origin = (origins or {}).get(name) or (known[name].origin if name in known else None)
        if origin is None:
            raise UsageError(f"the origin of {file} is not known; name what it was trained on")
        files[name] = WeightsFile(file.name, file.stat().st_size, _sha256(file), licence, origin)
    plain = {
        "format": FORMAT,
        "version": version,
        "files": {name: asdict(entry) for name, entry in files.items()},
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return Manifest(version=version, files=files)


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _check_file(name: str, manifest: Manifest, weights_dir: Path) -> Path:
    """The file of a network, once its size and checksum are those of the manifest."""
    entry = manifest.files.get(name)
    if entry is None:
        raise WeightsError(f"{weights_dir / MANIFEST_NAME} names no {name} weights; {_MEND}")
    path = weights_dir / entry.file
    try:
        n_bytes = path.stat().st_size
        if n_bytes != entry.bytes:
            raise WeightsError(
                f"{name} weights {path} have {n_bytes} bytes, not {entry.bytes}; {_MEND}"
            )
        digest = _sha256(path)
    except FileNotFoundError:
        raise WeightsError(f"{name} weights {path} are missing; {_MEND}") from None
    except OSError as error:
        raise WeightsError(f"{name} weights {path} cannot be read ({error.strerror})") from error
    if digest != entry.sha256:
        raise WeightsError(f"{name} weights {path} are damaged (SHA-256 {digest[:12]}...); {_MEND}")
    return path


def _read_dims(name: str, path: Path) -> dict[str, Any]:
    """The dimensions in a file's header, once it says that it is this network in this format."""
    from safetensors import SafetensorError, safe_open

    try:
        # numpy, not torch: the header needs neither, and `vasa weights verify` stays quick.
        with safe_open(path, framework="np") as opened:
            metadata = opened.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path} is no safetensors file ({error}); {_MEND}") from error
    found = metadata.get("format_version")
    if found != str(FORMAT):
        raise WeightsError(f"{path} has format {found}, this vasa reads {FORMAT}; {_MEND}")
    if metadata.get("name") != name:
        raise WeightsError(f"{path} holds {metadata.get('name')} weights, not {name}; {_MEND}")
    try:
        dims = json.loads(metadata["dims"])
    except (KeyError, ValueError):
        dims = None
    if not isinstance(dims, dict):
        raise WeightsError(f"{path} does not say the dimensions of its network; {_MEND}")
    return dims
