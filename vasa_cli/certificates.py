"""Keys to sign with: a local root certificate, and the leaf certificate that signs the videos."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vasa_cli.errors import ProvenanceError, UsageError

if TYPE_CHECKING:
    from cryptography import x509

ROOT_NAME = "root.pem"  # certificate, for others to trust
CHAIN_NAME = "signer.pem"  # leaf certificate, then the root's
KEY_NAME = "signer.key"  # private, PKCS #8
# Without a time stamp a signature is valid only as long as its certificate: make it last.
VALID_DAYS = 3650
DEFAULT_NAME = "vasa user"

INSTALL = 'run `python -m pip install "vasa-cli[provenance]"`'
_CLOCK_SKEW = datetime.timedelta(minutes=10)


@dataclass(frozen=True)
class SigningKey:
    """A certificate chain and its private key, found to fit each other."""

    chain_pem: bytes  # leaf first
    key_pem: bytes
    algorithm: str  # as C2PA names it: "es256", "ps256", "ed25519", ...
    name: str  # of the leaf: who signs

    def __repr__(self) -> str:  # a traceback must not show the private key
        return f"SigningKey({self.name!r}, {self.algorithm})"


@dataclass(frozen=True)
class CertificateInfo:
    """What a certificate says, for a reader."""

    name: str
    organisation: str
    sha256: str  # fingerprint, hex
    valid_until: datetime.datetime


def keys_dir() -> Path:
    """Where this user's keys are: $VASA_KEYS, else in the system's folder for settings."""
    asked = os.environ.get("VASA_KEYS")
    if asked:
        return Path(asked)
    if os.name == "nt" and (roaming := os.environ.get("APPDATA")):
        return Path(roaming) / "vasa" / "keys"
    settings = os.environ.get("XDG_CONFIG_HOME")
    return (Path(settings) if settings else Path.home() / ".config") / "vasa" / "keys"


def has_keys(folder: Path) -> bool:
    return (folder / CHAIN_NAME).is_file() and (folder / KEY_NAME).is_file()


def init_keys(folder: Path, *, name: str = DEFAULT_NAME, force: bool = False) -> CertificateInfo:
    """Make a root and a leaf certificate (EC P-256) and the private key of the leaf, in mode 0600.

    The root's own private key signs the leaf and is thrown away, so that nobody can steal it.

    Args:
        name: who signs, as readers of the video will see it.
        force: replace keys that are there.

    Returns:
        The leaf's certificate.

    Raises:
        UsageError: keys are there already, the name is empty or too long, or the folder cannot be
            written.
        ProvenanceError: the package cryptography is missing.
    """
    if not name.strip() or len(name) > 64:  # 64: what X.509 allows
        raise UsageError(f"a signer's name has 1 to 64 characters, not {len(name)}; give another")
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not force and any((folder / file).exists() for file in (ROOT_NAME, CHAIN_NAME, KEY_NAME)):
        raise UsageError(f"keys exist in {folder}; give --force to replace them")
    root_key = ec.generate_private_key(ec.SECP256R1())
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    root = _certificate(f"{name[:56]} (root)", name, root_key.public_key(), root_key)
    leaf = _certificate(name, name, leaf_key.public_key(), root_key, issuer=root)
    pem = serialization.Encoding.PEM
    private = leaf_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    root_pem = root.public_bytes(pem)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / KEY_NAME, private, mode=0o600)
        _write(folder / CHAIN_NAME, leaf.public_bytes(pem) + root_pem, mode=0o644)
        _write(folder / ROOT_NAME, root_pem, mode=0o644)
    except OSError as error:
        raise UsageError(
            f"keys cannot be written to {folder}: {error.strerror};"
            " set $VASA_KEYS to another folder"
        ) from error
    return _info(leaf)


def load_signing_key(certificate: Path, private_key: Path) -> SigningKey:
    """A certificate chain and its private key, once they fit each other.

    Args:
        certificate: PEM, the leaf first, then what leads to the root.
        private_key: PEM without a passphrase.

    Raises:
        ProvenanceError: a file cannot be read, is no PEM of its kind, is of an algorithm that C2PA
            does not know, has expired, or is not of the other; or cryptography is missing.
    """
    _require_cryptography()
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    chain_pem, key_pem = _read(certificate), _read(private_key)
    try:
        leaf = x509.load_pem_x509_certificates(chain_pem)[0]
    except ValueError as error:
        raise ProvenanceError(
            f"{certificate} holds no PEM certificate; give the leaf and its chain"
        ) from error
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError as error:
        raise ProvenanceError(
            f"key {private_key} has a passphrase; give one without, readable by you alone"
        ) from error
    except ValueError as error:
        raise ProvenanceError(f"{private_key} holds no PEM private key; give the leaf's") from error
    if leaf.public_key() != key.public_key():
        raise ProvenanceError(
            f"key {private_key} is not that of {certificate}; give the two that belong together"
        )
    info = _info(leaf)
    if info.valid_until < datetime.datetime.now(datetime.timezone.utc):
        raise ProvenanceError(
            f"certificate {certificate} was valid until {info.valid_until:%Y-%m-%d};"
            " renew it, or run `vasa keys init --force`"
        )
    return SigningKey(chain_pem, key_pem, _algorithm(key, private_key), info.name)


def read_certificate(path: Path) -> CertificateInfo:
    """What the first certificate of a PEM file says.

    Raises:
        ProvenanceError: the file cannot be read or is none, or cryptography is missing.
    """
    _require_cryptography()
    from cryptography import x509

    try:
        return _info(x509.load_pem_x509_certificates(_read(path))[0])
    except ValueError as error:
        raise ProvenanceError(f"{path} holds no PEM certificate") from error


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise ProvenanceError(f"keys need the package cryptography; {INSTALL}") from None


def _certificate(
    name: str, organisation: str, public_key: Any, root_key: Any, issuer: Any = None
) -> x509.Certificate:
    """A certificate signed by the root: the root's own without an issuer, else a leaf's.

    C2PA wants of a leaf: digitalSignature, an extended usage such as emailProtection, the
    identifiers of its own and its issuer's key, and an organisation's name.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    is_root = issuer is None
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if is_root else issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(is_root, 0 if is_root else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(issuer_id, critical=False)
    )
    if not is_root:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(root_key, hashes.SHA256())


def _info(certificate: x509.Certificate) -> CertificateInfo:
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    def attribute(oid: Any) -> str:
        found = certificate.subject.get_attributes_for_oid(oid)
        return str(found[0].value) if found else ""

    organisation = attribute(NameOID.ORGANIZATION_NAME)
    return CertificateInfo(
        name=attribute(NameOID.COMMON_NAME) or organisation or "unnamed",
        organisation=organisation,
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        valid_until=certificate.not_valid_after_utc,
    )


def _algorithm(key: Any, path: Path) -> str:
    """C2PA's name for the signatures of a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        name = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if key.curve.name in name:
            return name[key.curve.name]
    elif isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ProvenanceError(f"key {path} is of a kind that C2PA does not take; use EC P-256")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProvenanceError(
            f"{path} cannot be read ({error.strerror}); check its name, or run `vasa keys init`"
        ) from error


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that never has wider permissions than these, and appears whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(opened, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
