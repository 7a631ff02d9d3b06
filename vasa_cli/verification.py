"""What the marks of a video prove: tags, signed credentials and watermark, read and judged."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Iterator

import numpy as np

from vasa_cli.audio import FFmpeg, input_arguments
from vasa_cli.certificates import INSTALL, ROOT_NAME, keys_dir
from vasa_cli.errors import ProvenanceError
from vasa_cli.provenance import TOOL, XMP_BOX, can_sign
from vasa_cli.video import probe, read_video
from vasa_cli.watermark import N_FRAMES, Detection, detect

TRUSTED, UNKNOWN_SIGNER, INVALID, NONE, UNREAD = "trusted", "valid", "invalid", "none", "unread"
C2PA_BOX = uuid.UUID("d8fec3d6-1b0e-483c-9297-5828877ec481")
_MAX_XMP_BYTES = 1 << 20
_UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True)
class Tags:
    """Unsigned text in a file; anybody can write, change or remove it."""

    title: str
    comment: str
    source_type: str  # IPTC's address of the kind of source, or ""

    @property
    def say_generated(self) -> bool:
        return "AI-generated" in self.comment or self.source_type.endswith("AlgorithmicMedia")


@dataclass(frozen=True)
class Credentials:
    """The C2PA manifest of a file and whether its signature holds."""

    state: str  # "trusted", "valid" (of a signer unknown here), "invalid", "none", "unread"
    signer: str = ""
    tool: str = ""  # what the signer says made the file, as "vasa 0.1.0"
    reason: str = ""  # why invalid or unread

    @property
    def hold_for_vasa(self) -> bool:
        named = self.tool == TOOL or self.tool.startswith(f"{TOOL} ")
        return self.state in (TRUSTED, UNKNOWN_SIGNER) and named


@dataclass(frozen=True)
class Report:
    """All that was found in one file."""

    path: Path
    tags: Tags
    credentials: Credentials
    watermark: Detection

    @property
    def holds(self) -> bool:
        """A mark that cannot be typed in says vasa, and no signature says otherwise."""
        marked = self.watermark.found or self.credentials.hold_for_vasa
        return marked and self.credentials.state != INVALID

    @property
    def conclusion(self) -> str:
        """What is proven and what is not, in a sentence or two."""
        credentials, marked = self.credentials, self.watermark.found
        if credentials.state == INVALID:
            also = " The picture still bears vasa's watermark." if marked else ""
            return f"The file was changed after it was signed, or its signature is false.{also}"
        if credentials.hold_for_vasa:
            who = f"{credentials.signer or 'an unnamed signer'}"
            if credentials.state == TRUSTED:
                said = f"Made with vasa, says {who}, whom you trust; unchanged since it was signed."
            else:
                said = (
                    f"Unchanged since it was signed by a key that calls itself {who} and is not"
                    " known here; that vasa made it is what this signer says."
                )
            if marked:
                return f"{said} The watermark agrees."
            return f"{said} There is no watermark to support it."
        if marked:
            return (
                "vasa made this picture or the larger part of it; by whom, when, and what was"
                " changed since is not proven."
            )
        if self.tags.say_generated:
            return "Only tags say that it is AI-generated, and anyone can write tags: no proof."
        return (
            "No mark of vasa. That does not prove that the video is real,"
            " or that vasa did not make it."
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        mark = self.watermark
        return {
            "path": str(self.path),
            "ok": self.holds,
            "conclusion": self.conclusion,
            "tags": {
                "title": self.tags.title,
                "comment": self.tags.comment,
                "digital_source_type": self.tags.source_type,
            },
            "credentials": {
                "state": self.credentials.state,
                "signer": self.credentials.signer,
                "tool": self.credentials.tool,
                "reason": self.credentials.reason,
            },
            "watermark": {
                "found": mark.found,
                "z": round(mark.z, 2),
                "false_alarm": mark.false_alarm,
                "n_frames": mark.n_frames,
                "part": list(mark.part),
            },
        }


def verify(path: Path, *, anchors: tuple[Path, ...] = ()) -> Report:
    """Read every mark of a video.

    Args:
        anchors: PEM files of root certificates to trust beside the one of this user's own keys.

    Raises:
        InputError: the file cannot be opened or is no video.
        ProvenanceError: an anchor cannot be read.
    """
    frames = spread_frames(path)  # refuses what is no video
    return Report(
        path=path,
        tags=read_tags(path),
        credentials=read_credentials(path, anchors=anchors),
        watermark=detect(frames),
    )


def spread_frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video in which the watermark is looked for, (H, W, 3) uint8.

    Raises:
        InputError: the file cannot be opened or is no video.
    """
    n_frames = probe(path, count_frames=True).n_frames or 1
    return read_video(path, step=max(1, n_frames // N_FRAMES))


def read_tags(path: Path) -> Tags:
    """The tags of a video; of one without, empty texts."""
    with FFmpeg(["-v", "error", *input_arguments(path), "-f", "ffmetadata", "pipe:1"]) as ffmpeg:
        text = ffmpeg.stdout.read().decode("utf-8", errors="replace")
    # Matroska writes the names in capitals.
    named = re.compile(
        r"^(title|comment)=((?:\\.|[^\\\n])*)$", re.MULTILINE | re.DOTALL | re.IGNORECASE
    )
    plain = {
        key.lower(): re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        for key, value in named.findall(text)
    }
    packet = _read_xmp(path)
    source = re.search(r"DigitalSourceType(?:=[\"']|>)\s*([^\"'<\s]+)", packet)
    return Tags(plain.get("title", ""), plain.get("comment", ""), source[1] if source else "")


def read_credentials(path: Path, *, anchors: tuple[Path, ...] = ()) -> Credentials:
    """The content credentials of a file, checked against the roots that are trusted here.

    Raises:
        ProvenanceError: an anchor cannot be read.
    """
    roots = _read_anchors(anchors)
    if not can_sign():
        if any(box == C2PA_BOX for box, _, _ in _uuid_boxes(path)):
            return Credentials(UNREAD, reason=f"reading needs the package c2pa-python; {INSTALL}")
        return Credentials(NONE)
    import c2pa

    settings: dict[str, Any] = {
        # Files of others may name an address to ask; verifying must not call out.
        "verify": {"verify_trust": True, "ocsp_fetch": False, "remote_manifest_fetch": False}
    }
    if roots:
        settings["trust"] = {"user_anchors": roots}
    try:
        context = c2pa.Context.from_dict(settings)
        with path.open("rb") as opened, c2pa.Reader("video/mp4", opened, context=context) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return Credentials(NONE)
    except c2pa.C2paError as error:
        if not any(box == C2PA_BOX for box, _, _ in _uuid_boxes(path)):
            return Credentials(NONE)  # a kind of file that holds no manifest
        return Credentials(INVALID, reason=f"the manifest cannot be read ({error})")
    return _judge(store)


def _judge(store: dict[str, Any]) -> Credentials:
    """The state of a manifest store as c2pa's reader gives it."""
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature = manifest.get("signature_info", {})
    tools = manifest.get("claim_generator_info") or [{}]
    tool = f"{tools[0].get('name', '')} {tools[0].get('version', '')}".strip()
    signer = signature.get("common_name") or signature.get("issuer") or ""
    state = {"Trusted": TRUSTED, "Valid": UNKNOWN_SIGNER}.get(store.get("validation_state", ""))
    faults = [
        status.get("explanation") or status.get("code", "")
        for status in store.get("validation_status", [])
        if status.get("code") != _UNTRUSTED
    ]
    if state is None:
        return Credentials(INVALID, signer, tool, "; ".join(faults) or "it does not hold")
    return Credentials(state, signer, tool)


def _read_anchors(anchors: tuple[Path, ...]) -> str:
    """Root certificates to trust, as one PEM text."""
    texts = []
    for anchor in anchors:
        try:
            texts.append(anchor.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise ProvenanceError(f"root certificate {anchor} cannot be read ({error})") from error
        if "BEGIN CERTIFICATE" not in texts[-1]:
            raise ProvenanceError(f"{anchor} holds no PEM certificate; give a root as root.pem")
    own = keys_dir() / ROOT_NAME
    if own.is_file():
        texts.append(own.read_text(encoding="ascii"))
    return "\n".join(texts)


def _read_xmp(path: Path) -> str:
    """The XMP packet of an MP4, or ""."""
    for box, start, n_bytes in _uuid_boxes(path):
        if box == XMP_BOX and n_bytes <= _MAX_XMP_BYTES:
            with path.open("rb") as opened:
                opened.seek(start)
                return opened.read(n_bytes).decode("utf-8", errors="replace")
    return ""


def _uuid_boxes(path: Path) -> Iterator[tuple[uuid.UUID, int, int]]:
    """Identifier, start and length of the content of each top-level uuid box of an MP4."""
    n_total = path.stat().st_size
    with path.open("rb") as opened:
        start = 0
        while start + 8 <= n_total:
            opened.seek(start)
            header = _read_header(opened, n_total - start)
            if header is None:
                return
            kind, n_header, n_bytes = header
            if kind == b"uuid" and n_bytes >= n_header + 16:
                name = opened.read(16)
                if len(name) == 16:
                    yield uuid.UUID(bytes=name), start + n_header + 16, n_bytes - n_header - 16
            start += n_bytes


def _read_header(opened: BinaryIO, n_left: int) -> tuple[bytes, int, int] | None:
    """Kind, header length and whole length of the box that begins here; None where none does."""
    header = opened.read(8)
    n_bytes, kind, n_header = int.from_bytes(header[:4], "big"), header[4:], 8
    if n_bytes == 1:  # a long box: its length follows
        n_bytes, n_header = int.from_bytes(opened.read(8), "big"), 16
    elif n_bytes == 0:  # up to the end
        n_bytes = n_left
    return (kind, n_header, n_bytes) if n_header <= n_bytes <= n_left else None
