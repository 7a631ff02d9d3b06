"""What a video says of itself: tags, an XMP packet and signed content credentials (C2PA).

Everything here is done to the finished file under its temporary name: the XMP packet first, then
the signature over all of it. A signature that fails leaves the unsigned file or, where one was
required, no file. The watermark is part of the frames and stands in watermark.py.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import uuid
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from vasa_cli import __version__
from vasa_cli.certificates import (
    CHAIN_NAME,
    INSTALL,
    KEY_NAME,
    SigningKey,
    has_keys,
    keys_dir,
    load_signing_key,
)
from vasa_cli.config import SAMPLING, RenderOptions
from vasa_cli.errors import ProvenanceError, ResourceError
from vasa_cli.weights import load_manifest

TOOL = "vasa"
# IPTC's term for a real picture of which a trained model has made something new; the term for
# wholly made-up media, trainedAlgorithmicMedia, would deny that the pixels are the photo's.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
COMMENT = "AI-generated: a portrait made to speak by vasa"
XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
RENDER_ASSERTION = "vasa.render"
# Files and wishes of the one who renders are nobody else's business.
_PRIVATE_OPTIONS = {"certificate", "private_key", "force", "provenance", "ingredient"}
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp:CreatorTool={tool}
    Iptc4xmpExt:DigitalSourceType={source_type}
    Iptc4xmpExt:AISystemUsed={name}
    Iptc4xmpExt:AISystemVersionUsed={version}>
   <dc:description>
    <rdf:Alt><rdf:li xml:lang="x-default">{comment}</rdf:li></rdf:Alt>
   </dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


class Stamp:
    """The marks of one video, chosen before it is rendered and set when it is written.

    Give `metadata` and `finish` to a VideoWriter; `summary` is right once that has ended.

    Args:
        options: of the render.
        output: the video, for its title.
        photo: the portrait, for the ingredient.
        weights_dir: whose checksums are signed.

    Raises:
        ProvenanceError: a signature is required, by its mode or by naming a certificate, and the
            package or the key for it is missing or wrong.
    """

    def __init__(
        self, options: RenderOptions, *, output: Path, photo: Path, weights_dir: Path
    ) -> None:
        self._options = options
        self._title = output.stem
        self._photo = photo
        self._must_sign = options.provenance == "required" or options.certificate is not None
        self._key, self._not_signed = find_key(options)
        self._weights = {
            name: entry.sha256 for name, entry in load_manifest(weights_dir).files.items()
        }
        self._signed = False

    @property
    def metadata(self) -> dict[str, str]:
        """Tags for VideoWriter."""
        if self._options.provenance == "off":
            return {}
        return {
            "title": self._title,
            "comment": COMMENT,
            "description": f"Made with {TOOL} {__version__}. Digital source type: {SOURCE_TYPE}",
        }

    @property
    def summary(self) -> str:
        """Which marks the video bears, in words."""
        marked = self._options.watermark
        if self._options.provenance == "off":
            return "watermark only" if marked else "off"
        if self._signed and self._key is not None:
            return f"signed by {self._key.name}{'' if marked else ', no watermark'}"
        layers = "tags and watermark only" if marked else "tags only"
        return f"{layers}; {self._not_signed}"

    def finish(self, path: Path) -> None:
        """Put the XMP packet into a finished MP4 and sign it in place.

        Raises:
            ProvenanceError: a required signature failed.
            ResourceError: the file cannot be written.
        """
        if self._options.provenance == "off":
            return
        append_xmp(path)
        if self._key is None:
            return
        try:
            photo = self._photo if self._options.ingredient else None
            sign(path, key=self._key, manifest=self._manifest(), ingredient=photo)
            self._signed = True
        except ProvenanceError as error:
            if self._must_sign:
                raise
            self._not_signed = f"not signed: {error}"

    def _manifest(self) -> dict[str, Any]:
        """What the signature vouches for, as c2pa wants it."""
        tool = {"name": TOOL, "version": __version__}
        created = {
            "action": "c2pa.created",
            "digitalSourceType": SOURCE_TYPE,
            "softwareAgent": tool,
        }
        options = {
            name: str(value) if isinstance(value, Fraction) else value
            for name, value in asdict(self._options).items()
            if name not in _PRIVATE_OPTIONS and not isinstance(value, Path)
        }
        if self._options.motion is not None:  # nothing was sampled
            options = {k: v for k, v in options.items() if k not in SAMPLING} | {"motion": "file"}
        return {
            "claim_generator_info": [tool],
            "title": self._title,
            "format": "video/mp4",
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
                {
                    "label": RENDER_ASSERTION,
                    "data": {"weights_sha256": self._weights, "options": options},
                },
            ],
        }


def can_sign() -> bool:
    """Whether the packages of vasa[provenance] are installed; imports none of them."""
    return all(importlib.util.find_spec(name) is not None for name in ("c2pa", "cryptography"))


def find_key(options: RenderOptions) -> tuple[SigningKey | None, str]:
    """The key to sign with, or None and why there is none.

    Raises:
        ProvenanceError: a signature is required, by its mode or by naming a certificate, and the
            package or the key for it is missing or wrong.
    """
    if options.provenance == "off":
        return None, ""
    certificate, private_key = options.certificate, options.private_key
    required = options.provenance == "required" or certificate is not None
    if not can_sign():
        if required:
            raise ProvenanceError(f"signing needs the package c2pa-python; {INSTALL}")
        return None, "not signed: c2pa-python is not installed"
    folder = keys_dir()
    if certificate is not None and private_key is not None:
        return load_signing_key(certificate, private_key), ""
    if not has_keys(folder):
        if required:
            raise ProvenanceError(
                f"no signing key in {folder}; run `vasa keys init`, or give --cert and --key"
            )
        return None, "not signed: no key, `vasa keys init` makes one"
    try:
        return load_signing_key(folder / CHAIN_NAME, folder / KEY_NAME), ""
    except ProvenanceError as error:
        if required:
            raise
        return None, f"not signed: {error}"


def append_xmp(path: Path) -> None:
    """Put the XMP packet at the end of an MP4, where it moves no other byte.

    Raises:
        ResourceError: the file cannot be written.
    """
    packet = _XMP.format(
        tool=quoteattr(f"{TOOL} {__version__}"),
        source_type=quoteattr(SOURCE_TYPE),
        name=quoteattr(TOOL),
        version=quoteattr(__version__),
        comment=COMMENT,
    ).encode()
    try:
        with path.open("ab") as opened:
            opened.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + XMP_BOX.bytes + packet)
    except OSError as error:
        raise ResourceError(
            f"tags of {path} cannot be written ({error.strerror}); make room and run again"
        ) from error


def sign(
    path: Path, *, key: SigningKey, manifest: dict[str, Any], ingredient: Path | None = None
) -> None:
    """Sign an MP4 in place; it stays as it was when that fails.

    Args:
        manifest: its definition, as c2pa's Builder takes it.
        ingredient: a picture that the video was made from.

    Raises:
        ProvenanceError: c2pa is missing, refuses the key, the manifest or the ingredient, or cannot
            write.
    """
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:  # its shared library does not load
        raise ProvenanceError(
            f"signing needs the package c2pa-python ({error}); {INSTALL}"
        ) from error

    # No file of its own but this one: the signed copy is as long a name as the unsigned.
    signed = path.with_suffix(".sig")
    settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_trust": False}}
    try:
        # Without an address of a time stamp authority: None, since "" would be called.
        info = c2pa.C2paSignerInfo(key.algorithm, key.chain_pem, key.key_pem, None)
        context = c2pa.Context.from_dict(settings)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest, context) as builder:
            if ingredient is not None:
                entry = json.dumps({"title": ingredient.name, "relationship": "componentOf"})
                with ingredient.open("rb") as picture:
                    builder.add_ingredient(entry, _picture_type(ingredient), picture)
            with path.open("rb") as source, signed.open("w+b") as target:
                builder.sign(signer, "video/mp4", source, target)
        signed.replace(path)
    except (c2pa.C2paError, OSError) as error:
        raise ProvenanceError(
            f"the signature failed ({error}); check it with `vasa keys show`,"
            " or render with --provenance off"
        ) from error
    finally:
        signed.unlink(missing_ok=True)


def _picture_type(path: Path) -> str:
    """The kind of a picture by its content, since names lie; c2pa takes no other than these."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return Image.MIME.get(picture.format or "", "application/octet-stream")
    except OSError:
        return "application/octet-stream"
