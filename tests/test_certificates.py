"""Keys: what `init_keys` makes, how it is kept, and which files are refused in which words."""

from __future__ import annotations

import datetime
import os
import stat
from pathlib import Path

import pytest

from vasa_cli import certificates
from vasa_cli.certificates import CHAIN_NAME, KEY_NAME, ROOT_NAME
from vasa_cli.errors import ProvenanceError, UsageError

pytest.importorskip("cryptography")

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "keys"
    certificates.init_keys(folder, name="Acme Studio")
    return folder


def save_key(path: Path, key: object, password: bytes | None = None) -> Path:
    hidden: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        hidden = serialization.BestAvailableEncryption(password)
    path.write_bytes(
        key.private_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden
        )
    )
    return path


def save_certificate(path: Path, key: ec.EllipticCurvePrivateKey, *, days: float = 30) -> Path:
    """A plain self-signed certificate, valid so many days from 60 days ago on."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody")])
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=60)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(5)
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days))
    signer = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    path.write_bytes(builder.sign(key, signer).public_bytes(serialization.Encoding.PEM))
    return path


def test_the_leaf_is_what_c2pa_asks_for_and_the_root_signed_it(keys: Path) -> None:
    leaf, root = x509.load_pem_x509_certificates((keys / CHAIN_NAME).read_bytes())
    assert x509.load_pem_x509_certificate((keys / ROOT_NAME).read_bytes()) == root
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    public = leaf.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1"
    find = leaf.extensions.get_extension_for_class
    assert find(x509.KeyUsage).value.digital_signature
    assert not find(x509.KeyUsage).value.key_cert_sign
    assert list(find(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    assert not find(x509.BasicConstraints).value.ca
    own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert find(x509.AuthorityKeyIdentifier).value.key_identifier == own.digest
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_private_key_is_its_owners_alone_and_the_roots_is_not_kept(keys: Path) -> None:
    assert {path.name for path in keys.iterdir()} == {ROOT_NAME, CHAIN_NAME, KEY_NAME}
    if os.name == "posix":
        assert stat.S_IMODE((keys / KEY_NAME).stat().st_mode) == 0o600
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert (keys / ROOT_NAME).read_text().count("PRIVATE KEY") == 0


def test_the_key_is_read_back_and_not_shown(keys: Path) -> None:
    key = certificates.load_signing_key(keys / CHAIN_NAME, keys / KEY_NAME)
    assert (key.name, key.algorithm) == ("Acme Studio", "es256")
    assert "PRIVATE" not in repr(key)
    info = certificates.read_certificate(keys / CHAIN_NAME)
    assert (info.name, info.organisation, len(info.sha256)) == ("Acme Studio", "Acme Studio", 64)
    left = info.valid_until - datetime.datetime.now(datetime.timezone.utc)
    assert left > datetime.timedelta(days=3600)


def test_keys_that_exist_are_kept_unless_forced(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="keys exist in .*; give --force"):
        certificates.init_keys(keys)
    first = certificates.init_keys(tmp_path)
    assert certificates.init_keys(tmp_path, force=True).sha256 != first.sha256
    certificates.load_signing_key(tmp_path / CHAIN_NAME, tmp_path / KEY_NAME)


@pytest.mark.parametrize("name", ["", "  ", "x" * 65])
def test_a_name_no_certificate_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="1 to 64 characters"):
        certificates.init_keys(tmp_path / "keys", name=name)
    assert not (tmp_path / "keys").exists()


def test_a_folder_that_cannot_be_made_is_misuse(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written to .*set \$VASA_KEYS"):
        certificates.init_keys(tmp_path / "file" / "keys")


def test_keys_are_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VASA_KEYS", str(tmp_path))
    assert certificates.keys_dir() == tmp_path
    assert not certificates.has_keys(tmp_path)
    monkeypatch.delenv("VASA_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert certificates.keys_dir() == tmp_path / "settings" / "vasa" / "keys"


def test_a_key_of_another_certificate_is_refused(keys: Path, tmp_path: Path) -> None:
    other = save_key(tmp_path / "other.key", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ProvenanceError, match="is not that of .*signer.pem") as caught:
        certificates.load_signing_key(keys / CHAIN_NAME, other)
    assert caught.value.exit_code == 6


def test_files_that_are_no_keys_are_refused_in_words(keys: Path, tmp_path: Path) -> None:
    text, missing = tmp_path / "text", tmp_path / "missing"
    text.write_text("hello")
    secret = save_key(tmp_path / "secret.key", ec.generate_private_key(ec.SECP256R1()), b"word")
    for certificate, key, words in [
        (missing, keys / KEY_NAME, "missing cannot be read .No such file"),
        (text, keys / KEY_NAME, "text holds no PEM certificate"),
        (keys / CHAIN_NAME, text, "text holds no PEM private key"),
        (keys / CHAIN_NAME, secret, "has a passphrase"),
    ]:
        with pytest.raises(ProvenanceError, match=words):
            certificates.load_signing_key(certificate, key)


def test_a_certificate_that_has_run_out_is_refused(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    key = save_key(tmp_path / "a.key", private)
    certificate = save_certificate(tmp_path / "a.pem", private, days=30)
    with pytest.raises(ProvenanceError, match="was valid until .*; renew it"):
        certificates.load_signing_key(certificate, key)


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
        (lambda: rsa.generate_private_key(65537, 2048), "ps256"),
        (ed25519.Ed25519PrivateKey.generate, "ed25519"),
    ],
)
def test_an_organisations_own_key_may_be_of_another_kind(
    tmp_path: Path, make: object, algorithm: str
) -> None:
    private = make()  # type: ignore[operator]
    key = save_key(tmp_path / "a.key", private)
    certificate = save_certificate(tmp_path / "a.pem", private, days=90)
    assert certificates.load_signing_key(certificate, key).algorithm == algorithm


def test_a_kind_of_key_that_c2pa_lacks_is_refused(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256K1())
    key = save_key(tmp_path / "a.key", private)
    certificate = save_certificate(tmp_path / "a.pem", private, days=90)
    with pytest.raises(ProvenanceError, match="of a kind that C2PA does not take; use EC P-256"):
        certificates.load_signing_key(certificate, key)
