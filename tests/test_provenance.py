"""What a video says of itself: each option changes the file as it says, and tampering shows."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_video import ffmpeg
from tests.videos import write_video
from vasa_cli import __version__, certificates, provenance, verification
from vasa_cli.certificates import CHAIN_NAME, KEY_NAME, ROOT_NAME
from vasa_cli.config import RenderOptions
from vasa_cli.errors import InputError, ProvenanceError, ResourceError, UsageError
from vasa_cli.label import Label
from vasa_cli.provenance import SOURCE_TYPE, Stamp
from vasa_cli.video import decoded_sha256, read_video
from vasa_cli.watermark import Watermarker

SIZE = 128
needs_c2pa = pytest.mark.skipif(not provenance.can_sign(), reason="vasa[provenance] is absent")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may see or sign with the keys of whoever runs it."""
    monkeypatch.setenv("VASA_KEYS", str(tmp_path / "no-keys"))


@pytest.fixture
def keys(no_keys: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    pytest.importorskip("cryptography")
    folder = tmp_path / "keys"
    certificates.init_keys(folder, name="Acme Studio")
    monkeypatch.setenv("VASA_KEYS", str(folder))
    return folder


@pytest.fixture
def photo(repository: Path) -> Path:
    return repository / "examples" / "portrait.jpg"


@pytest.fixture
def make(tmp_path: Path, photo: Path, fake_weights_dir: Path) -> Any:
    """Writes a short video with the marks of some options, as a render does."""

    def write(name: str = "talk.mp4", n_frames: int = 3, **changes: Any) -> tuple[Path, Stamp]:
        from PIL import Image

        options = RenderOptions(**changes)
        output = tmp_path / name
        stamp = Stamp(options, output=output, photo=photo, weights_dir=fake_weights_dir)
        picture = Image.open(photo).convert("RGB").resize((SIZE, SIZE))
        frame = np.asarray(picture)
        if options.label is not None:
            frame = Label(options.label, height=SIZE, width=SIZE).apply(frame)
        if options.watermark:
            frame = Watermarker(SIZE, SIZE).apply(frame)
        write_video(
            output,
            [frame] * n_frames,
            crf=options.crf,
            metadata=stamp.metadata,
            finish=stamp.finish,
        )
        return output, stamp

    return write


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


# Tags


def test_every_video_says_that_it_is_generated_by_what_and_how(make: Any) -> None:
    path, stamp = make()
    tags = verification.read_tags(path)
    assert tags.title == "talk"
    assert tags.comment == "AI-generated: a portrait made to speak by vasa"
    assert tags.source_type == SOURCE_TYPE
    assert tags.say_generated
    assert f"vasa {__version__}".encode() in path.read_bytes()
    assert stamp.summary.startswith("tags and watermark only; not signed: ")


def test_the_xmp_packet_is_well_formed_and_where_readers_look(make: Any) -> None:
    from xml.etree import ElementTree

    path, _ = make()
    data = path.read_bytes()
    start = data.index(provenance.XMP_BOX.bytes)
    assert data[start - 4 : start] == b"uuid"
    n_bytes = int.from_bytes(data[start - 8 : start - 4], "big")
    assert start - 8 + n_bytes == len(data)
    root = ElementTree.fromstring(data[start + 16 :].decode())
    assert root.tag == "{adobe:ns:meta/}xmpmeta"
    term = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert [entry.get(term) for entry in root.iter() if entry.get(term)] == [SOURCE_TYPE]


def test_titles_with_special_letters_come_back(make: Any) -> None:
    path, _ = make(name="a=b;c#d \\ 'é'.mp4")
    assert verification.read_tags(path).title == "a=b;c#d \\ 'é'"


def test_off_writes_no_tags(make: Any) -> None:
    path, stamp = make(provenance="off")
    assert verification.read_tags(path) == verification.Tags("", "", "")
    assert b"vasa" not in path.read_bytes()
    assert stamp.summary == "watermark only"
    _, stamp = make(name="bare.mp4", provenance="off", watermark=False)
    assert stamp.summary == "off"


def test_the_tags_leave_frames_and_playing_as_they_were(make: Any) -> None:
    tagged, _ = make()
    plain, _ = make(name="plain.mp4", provenance="off")
    assert decoded_sha256(tagged) == decoded_sha256(plain)


def test_tags_that_cannot_be_written_are_a_lack_of_resources(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="tags of .* cannot be written"):
        provenance.append_xmp(tmp_path / "missing" / "a.mp4")


# Watermark


def test_watermark_is_in_the_video_or_not_as_asked(make: Any) -> None:
    marked, _ = make()
    plain, stamp = make(name="plain.mp4", watermark=False)
    assert verification.verify(marked).watermark.found
    seen = verification.verify(plain)
    assert not seen.watermark.found and not seen.holds
    assert "anyone can write tags" in seen.conclusion
    assert stamp.summary.startswith("tags only; ")


# Label


def test_label_darkens_a_corner_and_leaves_the_rest(make: Any) -> None:
    plain, _ = make(watermark=False, crf=0)
    labelled, _ = make(name="labelled.mp4", watermark=False, crf=0, label="AI-generated")
    before, after = (next(read_video(path)).astype(int) for path in (plain, labelled))
    changed = np.abs(after - before).max(-1) > 12
    assert changed[SIZE * 3 // 4 :, : SIZE * 3 // 4].mean() > 0.2
    assert not changed[: SIZE * 3 // 4].any()


def test_a_label_is_white_on_dark_and_repeatable() -> None:
    frame = np.full((240, 320, 3), 200, np.uint8)
    label = Label("AI-generated", height=240, width=320)
    labelled = label.apply(frame)
    assert labelled.max() > 240 and labelled.min() < 100
    assert frame.min() == 200
    np.testing.assert_array_equal(
        labelled, Label("AI-generated", height=240, width=320).apply(frame)
    )
    other = Label("Made by AI", height=240, width=320).apply(frame)
    assert (other != labelled).any()
    with pytest.raises(ValueError, match="uint8"):
        label.apply(frame[:-1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "label is empty; give a text as --label"),
        (" ", "label is empty"),
        ("two\nlines", "line breaks or control characters"),
        ("AI " * 60, "does not fit into 320x240 pixels; shorten it"),
        ("\U00012000", "no font here has the label's \U00012000"),
    ],
)
def test_labels_that_cannot_be_drawn_are_misuse(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Label(text, height=240, width=320)


# Signature


@needs_c2pa
def test_auto_signs_and_says_who(make: Any, keys: Path) -> None:
    path, stamp = make()
    assert stamp.summary == "signed by Acme Studio"
    seen = verification.verify(path)
    assert seen.credentials.state == verification.TRUSTED  # the own root is trusted
    assert seen.credentials.signer == "Acme Studio"
    assert seen.credentials.tool == f"vasa {__version__}"
    assert seen.holds and "unchanged since it was signed" in seen.conclusion
    assert verification.read_tags(path).source_type == SOURCE_TYPE
    _, stamp = make(name="bare.mp4", watermark=False)
    assert stamp.summary == "signed by Acme Studio, no watermark"


@needs_c2pa
def test_the_manifest_names_action_source_weights_and_options_but_no_files(
    make: Any, keys: Path, photo: Path
) -> None:
    path, _ = make(seed=7, fps=Fraction(30000, 1001), label="AI")
    manifest = read_manifest(path)
    by_label = {entry["label"]: entry["data"] for entry in manifest["assertions"]}
    (action,) = by_label["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", SOURCE_TYPE)
    render = by_label["vasa.render"]
    assert (render["options"]["seed"], render["options"]["fps"]) == (7, "30000/1001")
    assert set(render["weights_sha256"]) >= {"decoder", "motion"}
    assert not {"certificate", "private_key"} & set(render["options"])
    assert "ingredients" not in manifest or manifest["ingredients"] == []
    assert photo.name.encode() not in path.read_bytes()


@needs_c2pa
def test_the_manifest_claims_no_sampling_where_a_motion_file_was_performed(
    make: Any, keys: Path
) -> None:
    path, _ = make(motion=Path("private-name.safetensors"))
    by_label = {e["label"]: e["data"] for e in read_manifest(path)["assertions"]}
    options = by_label["vasa.render"]["options"]
    assert options["motion"] == "file" and not {"seed", "num_steps"} & set(options)
    assert b"private-name" not in path.read_bytes()


@needs_c2pa
def test_ingredient_names_the_photo_and_still_holds(make: Any, keys: Path, photo: Path) -> None:
    path, _ = make(ingredient=True)
    (ingredient,) = read_manifest(path)["ingredients"]
    assert (ingredient["title"], ingredient["relationship"]) == (photo.name, "componentOf")
    assert "thumbnail" not in ingredient
    assert verification.read_credentials(path).state == verification.TRUSTED


def read_manifest(path: Path) -> dict[str, Any]:
    import c2pa

    with c2pa.Reader(path) as reader:
        manifest = reader.get_active_manifest()
    assert manifest is not None
    return dict(manifest)


@needs_c2pa
def test_a_signer_unknown_here_is_valid_and_trusted_once_its_root_is_given(
    make: Any, keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, _ = make()
    monkeypatch.setenv("VASA_KEYS", str(tmp_path / "elsewhere"))
    seen = verification.verify(path)
    assert seen.credentials.state == verification.UNKNOWN_SIGNER and seen.holds
    assert "is not known here" in seen.conclusion
    seen = verification.verify(path, anchors=(keys / ROOT_NAME,))
    assert seen.credentials.state == verification.TRUSTED


@needs_c2pa
def test_certificate_and_key_of_an_organisation_are_used(
    make: Any, keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VASA_KEYS", str(tmp_path / "elsewhere"))
    path, stamp = make(certificate=keys / CHAIN_NAME, private_key=keys / KEY_NAME)
    assert stamp.summary == "signed by Acme Studio"
    assert verification.read_credentials(path).signer == "Acme Studio"


@needs_c2pa
@pytest.mark.parametrize(
    ("part", "n_bytes_after"),
    [("moov", 40), ("mdat", 200), ("DigitalSourceType=", 5), ("weights_sha256", 30), ("Acme", 1)],
)
def test_one_flipped_bit_is_detected(make: Any, keys: Path, part: str, n_bytes_after: int) -> None:
    path, _ = make()
    data = bytearray(path.read_bytes())
    data[data.index(part.encode()) + n_bytes_after] ^= 1
    path.write_bytes(data)
    seen = verification.read_credentials(path)
    assert seen.state == verification.INVALID
    assert seen.reason


@needs_c2pa
def test_a_false_signature_does_not_hold_though_the_watermark_is_found(
    make: Any, keys: Path
) -> None:
    path, _ = make()
    data = bytearray(path.read_bytes())
    data[-100] ^= 1  # in the XMP packet
    path.write_bytes(data)
    seen = verification.verify(path)
    assert seen.watermark.found and not seen.holds
    assert "changed after it was signed" in seen.conclusion
    assert "still bears vasa's watermark" in seen.conclusion


@needs_c2pa
def test_a_stripped_manifest_leaves_the_watermark(make: Any, keys: Path, tmp_path: Path) -> None:
    path, _ = make()
    bare = tmp_path / "bare.mp4"
    ffmpeg("-i", path, "-c", "copy", "-map_metadata", "-1", bare)
    seen = verification.verify(bare)
    assert seen.credentials.state == verification.NONE
    assert not seen.tags.say_generated
    assert seen.watermark.found and seen.holds
    assert "by whom, when" in seen.conclusion


@needs_c2pa
def test_signing_leaves_the_frames_as_they_were(make: Any, keys: Path) -> None:
    signed, _ = make()
    plain, _ = make(name="plain.mp4", provenance="off")
    assert decoded_sha256(signed) == decoded_sha256(plain)


# Signatures that fail


@needs_c2pa
def test_required_without_a_key_fails_before_anything_is_written(make: Any, tmp_path: Path) -> None:
    with pytest.raises(ProvenanceError, match="no signing key in .*; run `vasa keys init`"):
        make(provenance="required")
    assert names(tmp_path) == set()


def test_without_the_package_auto_says_so_and_required_fails(
    make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(provenance, "can_sign", lambda: False)
    with pytest.raises(ProvenanceError, match=r'c2pa-python; run .*"vasa-cli\[provenance\]"') as e:
        make(provenance="required")
    assert e.value.exit_code == 6
    assert names(tmp_path) == set()
    _, stamp = make()
    assert stamp.summary == "tags and watermark only; not signed: c2pa-python is not installed"


@needs_c2pa
def test_a_failed_signature_leaves_no_file_when_required_and_the_plain_one_when_not(
    make: Any, keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import c2pa

    def fail(builder: Any, signer: Any, kind: str, source: Any, target: Any) -> None:
        target.write(b"half")
        raise c2pa.C2paError("the signer broke")

    monkeypatch.setattr(c2pa.Builder, "sign", fail)
    with pytest.raises(ProvenanceError, match="signature failed .*the signer broke"):
        make(provenance="required")
    assert names(tmp_path) == set()
    path, stamp = make()
    assert names(tmp_path) == {"talk.mp4"}
    assert "not signed: the signature failed" in stamp.summary
    assert verification.read_credentials(path).state == verification.NONE
    assert verification.read_tags(path).say_generated


@needs_c2pa
def test_a_broken_own_key_is_told_by_auto_and_refused_by_required(make: Any, keys: Path) -> None:
    (keys / KEY_NAME).write_text("rubbish")
    _, stamp = make()
    assert "not signed: " in stamp.summary and "no PEM private key" in stamp.summary
    with pytest.raises(ProvenanceError, match="no PEM private key"):
        make(provenance="required")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"certificate": Path("a.pem")}, "--cert and --key belong together"),
        ({"private_key": Path("a.key")}, "--cert and --key belong together"),
        ({"provenance": "off", "ingredient": True}, "need a signature"),
        (
            {"provenance": "off", "certificate": Path("a"), "private_key": Path("b")},
            "need a signature",
        ),
    ],
)
def test_options_that_contradict_each_other_are_misuse(
    make: Any, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        make(**changes)


# Reading files of others


def test_a_video_without_marks_says_that_this_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "other.webm"
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=0.2:s=64x48:r=10", "-c:v", "libvpx", path)
    seen = verification.verify(path)
    assert (seen.credentials.state, seen.watermark.found, seen.holds) == ("none", False, False)
    assert seen.conclusion.startswith("No mark of vasa. That does not prove that the video is real")


def test_credentials_are_seen_though_not_read_without_the_package(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = make()
    monkeypatch.setattr(verification, "can_sign", lambda: False)
    assert verification.read_credentials(path).state == verification.NONE
    box = (24).to_bytes(4, "big") + b"uuid" + verification.C2PA_BOX.bytes
    path.write_bytes(path.read_bytes() + box)
    seen = verification.read_credentials(path)
    assert seen.state == verification.UNREAD
    assert 'run `python -m pip install "vasa-cli[provenance]"`' in seen.reason


def test_boxes_that_lie_about_their_length_end_the_search(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    for data in (b"", b"abc", b"\0\0\0\0uuid", b"\0\0\0\7free" * 3, b"\xff\xff\xff\xffuuid1234"):
        path.write_bytes(data)
        assert verification.read_credentials(path).state == verification.NONE


def test_a_root_that_is_none_is_refused(make: Any, tmp_path: Path) -> None:
    path, _ = make()
    with pytest.raises(ProvenanceError, match="root certificate .* cannot be read"):
        verification.verify(path, anchors=(tmp_path / "missing.pem",))
    text = tmp_path / "text.pem"
    text.write_text("hello")
    with pytest.raises(ProvenanceError, match="holds no PEM certificate"):
        verification.verify(path, anchors=(text,))


def test_a_missing_video_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        verification.verify(tmp_path / "missing.mp4")


def test_asking_whether_vasa_can_sign_loads_nothing() -> None:
    import subprocess

    program = "import sys; from vasa_cli import provenance; provenance.can_sign()"
    program += "; print([m for m in ('c2pa', 'cryptography', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_tags_are_read_from_a_matroska_copy_too(make: Any, tmp_path: Path) -> None:
    path, _ = make()
    copy = tmp_path / "copy.mkv"
    ffmpeg("-i", path, "-c", "copy", copy)
    assert verification.read_tags(copy).comment == verification.read_tags(path).comment != ""
