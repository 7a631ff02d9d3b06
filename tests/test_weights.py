from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vasa_cli import weights
from vasa_cli.errors import UsageError, WeightsError
from vasa_cli.weights import (
    WEIGHTS_NAMES,
    find_weights_dir,
    load_manifest,
    load_weights,
    save_weights,
    verify,
    write_manifest,
)


def rewrite(folder: Path, name: str, metadata: dict[str, str] | None) -> None:
    """Puts a file with this header in the place of a network's, and the manifest right again."""
    path = folder / f"{name}.safetensors"
    save_file({"x": torch.zeros(2)}, path, metadata=metadata)
    write_manifest(folder, version="0.0.1", licence="Apache-2.0")


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_saved_is_loaded_with_its_dimensions(fake_weights_dir: Path) -> None:
    tensors, dims = load_weights("encoder", weights_dir=fake_weights_dir)
    assert list(tensors) == ["layer.weight"]
    assert tensors["layer.weight"].tolist() == [1.0, 2.0, 3.0]
    assert dims == {"hidden_dim": 3, "kinds": ["a", "b"]}


def test_every_dtype_and_a_view_survive_the_round_trip(tmp_path: Path) -> None:
    tensors = {
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "whole": torch.tensor([[3, 4]], dtype=torch.int64),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "grad": torch.ones(2, requires_grad=True),
    }
    save_weights(tmp_path / "motion.safetensors", tensors, name="motion", dims={})
    write_manifest(tmp_path, version="1", licence="CC0-1.0", origins={"motion": "nothing"})
    loaded, _ = load_weights("motion", weights_dir=tmp_path)
    for key, tensor in tensors.items():
        assert loaded[key].dtype == tensor.dtype
        assert torch.equal(loaded[key], tensor.detach())
    assert tensors["grad"].requires_grad  # the caller's tensor is as it was


def test_saving_leaves_no_temporary_file_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "motion.safetensors"
    for value in (1.0, 2.0):
        save_weights(path, {"x": torch.tensor([value])}, name="motion", dims={})
    assert [found.name for found in path.parent.iterdir()] == ["motion.safetensors"]


def test_a_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "motion.safetensors"
    save_weights(path, {"x": torch.tensor([1.0])}, name="motion", dims={})
    before = path.read_bytes()
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError):  # safetensors refuses two names for one memory
        save_weights(path, {"x": shared, "y": shared}, name="motion", dims={})
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["motion.safetensors"]


def test_the_manifest_names_size_checksum_licence_and_origin(fake_weights_dir: Path) -> None:
    manifest = load_manifest(fake_weights_dir)
    assert manifest.version == "0.0.1"
    assert tuple(manifest.files) == WEIGHTS_NAMES
    entry = manifest.files["decoder"]
    content = (fake_weights_dir / "decoder.safetensors").read_bytes()
    assert entry.file == "decoder.safetensors"
    assert entry.bytes == len(content)
    assert entry.sha256 == hashlib.sha256(content).hexdigest()
    assert (entry.licence, entry.origin) == ("Apache-2.0", "made up for decoder")


def test_writing_the_manifest_again_keeps_known_origins(fake_weights_dir: Path) -> None:
    again = write_manifest(
        fake_weights_dir, version="0.0.2", licence="Apache-2.0", origins={"motion": "other clips"}
    )
    assert again == load_manifest(fake_weights_dir)
    assert again.files["motion"].origin == "other clips"
    assert again.files["decoder"].origin == "made up for decoder"


def test_an_unknown_origin_is_refused(fake_weights_dir: Path) -> None:
    (fake_weights_dir / "manifest.json").unlink()
    with pytest.raises(UsageError, match="origin of .*detector.safetensors is not known"):
        write_manifest(fake_weights_dir, version="1", licence="Apache-2.0")


def test_whole_weights_verify(fake_weights_dir: Path) -> None:
    assert verify(fake_weights_dir) == dict.fromkeys(WEIGHTS_NAMES)


def damage_missing(path: Path) -> None:
    path.unlink()


def damage_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def damage_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_missing, "decoder.safetensors are missing"),
        (damage_truncated, r"have \d+ bytes, not \d+"),
        (damage_one_bit, r"are damaged \(SHA-256 [0-9a-f]{12}"),
    ],
)
def test_a_spoilt_file_is_one_clear_line(fake_weights_dir: Path, damage, words: str) -> None:
    damage(fake_weights_dir / "decoder.safetensors")
    with pytest.raises(WeightsError, match=words) as caught:
        load_weights("decoder", weights_dir=fake_weights_dir)
    assert caught.value.exit_code == 4
    assert "vasa weights verify" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [name for name, fault in verify(fake_weights_dir).items() if fault] == ["decoder"]
    load_weights("encoder", weights_dir=fake_weights_dir)  # the others still load


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"format_version": "1", "name": "motion", "dims": "{}"}, "holds motion weights, not deco"),
        ({"format_version": "9", "name": "decoder", "dims": "{}"}, "has format 9, .* reads 1"),
        ({"format_version": "1", "name": "decoder"}, "does not say the dimensions"),
        ({"format_version": "1", "name": "decoder", "dims": "{"}, "does not say the dimensions"),
        ({"format_version": "1", "name": "decoder", "dims": "[1]"}, "does not say the dimensions"),
        (None, "has format None"),
    ],
)
def test_a_file_that_does_not_match_is_refused(
    fake_weights_dir: Path, metadata: dict[str, str] | None, words: str
) -> None:
    rewrite(fake_weights_dir, "decoder", metadata)
    with pytest.raises(WeightsError, match=words):
        load_weights("decoder", weights_dir=fake_weights_dir)
    assert re.search(words, str(verify(fake_weights_dir)["decoder"]))


def test_a_file_that_is_no_safetensors_is_refused(fake_weights_dir: Path) -> None:
    (fake_weights_dir / "decoder.safetensors").write_bytes(b"not weights at all")
    write_manifest(fake_weights_dir, version="0.0.1", licence="Apache-2.0")
    with pytest.raises(WeightsError, match="is no safetensors file"):
        load_weights("decoder", weights_dir=fake_weights_dir)


def test_a_network_that_the_manifest_does_not_name_is_missing(fake_weights_dir: Path) -> None:
    (fake_weights_dir / "motion.safetensors").unlink()
    write_manifest(fake_weights_dir, version="0.0.1", licence="Apache-2.0")
    with pytest.raises(WeightsError, match="names no motion weights"):
        load_weights("motion", weights_dir=fake_weights_dir)
    assert isinstance(verify(fake_weights_dir)["motion"], WeightsError)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 1, "files": 3}'])
def test_a_damaged_manifest_is_refused(fake_weights_dir: Path, content: str) -> None:
    (fake_weights_dir / "manifest.json").write_text(content)
    with pytest.raises(WeightsError, match="manifest.json is damaged"):
        load_manifest(fake_weights_dir)


def test_a_manifest_of_another_format_is_refused(fake_weights_dir: Path) -> None:
    edit_manifest(fake_weights_dir, format=2)
    with pytest.raises(WeightsError, match="has format 2, this vasa reads 1"):
        load_manifest(fake_weights_dir)


def test_a_manifest_does_not_reach_outside_its_folder(fake_weights_dir: Path) -> None:
    files = json.loads((fake_weights_dir / "manifest.json").read_text())["files"]
    files["decoder"]["file"] = "../decoder.safetensors"
    edit_manifest(fake_weights_dir, files=files)
    with pytest.raises(WeightsError, match="not a plain file name"):
        load_manifest(fake_weights_dir)


class TestFindWeightsDir:
    @pytest.fixture(autouse=True)
    def places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An installation at tmp_path/site/vasa_cli, with nothing around it yet."""
        monkeypatch.delenv("VASA_WEIGHTS", raising=False)
        monkeypatch.setattr(weights, "PACKAGE_DIR", tmp_path / "site" / "vasa_cli")

    @staticmethod
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        return folder

    def test_order_is_given_then_variable_then_checkout_then_wheel(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wheel = self.make(tmp_path / "site" / "vasa_cli" / "_weights")
        assert find_weights_dir() == wheel
        checkout = self.make(tmp_path / "site" / "weights")
        assert find_weights_dir() == checkout
        named = self.make(tmp_path / "named")
        monkeypatch.setenv("VASA_WEIGHTS", str(named))
        assert find_weights_dir() == named
        given = self.make(tmp_path / "given")
        assert find_weights_dir(given) == given

    def test_a_folder_that_was_asked_for_is_never_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.make(tmp_path / "site" / "weights")
        with pytest.raises(WeightsError, match=r"no manifest.json in .*nowhere \(--weights-dir\)"):
            find_weights_dir(tmp_path / "nowhere")
        monkeypatch.setenv("VASA_WEIGHTS", str(tmp_path / "gone"))
        with pytest.raises(WeightsError, match=r"no manifest.json in .*gone \(\$VASA_WEIGHTS\)"):
            find_weights_dir()

    def test_an_empty_variable_is_as_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VASA_WEIGHTS", "")
        assert find_weights_dir(self.make(tmp_path / "given")) == tmp_path / "given"

    def test_nowhere_at_all_says_where_it_looked(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no weights found in .*; install vasa again"):
            find_weights_dir()
