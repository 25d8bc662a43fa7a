"""A throw-away certification authority and what it has signed, made by openssl in a directory of the test's own.

``unknown`` is signed by an authority of its own, ``other_ca``; ``wrong_name`` is somebody else's; ``expired`` was never
valid for as long as a second. ``both`` is a certificate and its key in one file, as many administrators keep them.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAMES = ("localhost", "imap.example", "smtp.example")
ADDRESSES = ("127.0.0.1", "::1")
SOMEBODY_ELSE = "somebody-else.example"
PASSPHRASE = "passphrase"

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
_LEAF = ("-addext", "basicConstraints=critical,CA:FALSE")


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate and of its key."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files, all PEM: a good certificate with its key, and what may be wrong with others."""

    ca: Path
    cert: Path  # for NAMES and ADDRESSES
    key: Path
    both: Path
    encrypted_key: Path  # the good certificate's, by PASSPHRASE
    other_ca: Path
    unknown: Pair
    wrong_name: Pair
    expired: Pair


def make_certificates(directory: Path) -> Certificates:
    """Make them all in ``directory``, in which there may be nothing of the same name; it takes a tenth of a second."""
    ca, other_ca = authority(directory, "ca"), authority(directory, "other-ca")
    good = signed(directory, "good", ca, NAMES, ADDRESSES)
    both = directory / "both.pem"
    both.write_bytes(good.cert.read_bytes() + good.key.read_bytes())
    encrypted_key = directory / "encrypted.key"
    _openssl("pkey", "-in", good.key, "-out", encrypted_key, "-aes256", "-passout", f"pass:{PASSPHRASE}")
    return Certificates(
        ca=ca.cert,
        cert=good.cert,
        key=good.key,
        both=both,
        encrypted_key=encrypted_key,
        other_ca=other_ca.cert,
        unknown=signed(directory, "unknown", other_ca, NAMES, ADDRESSES),
        wrong_name=signed(directory, "wrong-name", ca, [SOMEBODY_ELSE], []),
        expired=signed(directory, "expired", ca, NAMES, ADDRESSES, days=-1),
    )


def authority(directory: Path, name: str) -> Pair:
    """Make an authority's own certificate and key."""
    pair = _pair(directory, name)
    subject = ("-subj", f"/CN=Throw-away {name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl("req", "-x509", *_KEY, "-noenc", "-keyout", pair.key, "-out", pair.cert, "-days", "2", *subject)
    return pair


def signed(
    directory: Path, name: str, authority: Pair, names: Sequence[str], addresses: Sequence[str], days: int = 2
) -> Pair:
    """Make a certificate for these names and IP addresses, signed by that authority."""
    pair, request = _pair(directory, name), directory / f"{name}.csr"
    holders = ",".join([*(f"DNS:{host}" for host in names), *(f"IP:{address}" for address in addresses)])
    subject = ("-subj", f"/CN={names[0]}", *_LEAF, "-addext", f"subjectAltName={holders}")
    _openssl("req", "-new", *_KEY, "-noenc", "-keyout", pair.key, "-out", request, *subject)
    signer = ("-CA", authority.cert, "-CAkey", authority.key, "-copy_extensions", "copyall")
    _openssl("x509", "-req", "-in", request, *signer, "-days", str(days), "-out", pair.cert)
    return pair


def _pair(directory: Path, name: str) -> Pair:
    return Pair(directory / f"{name}.pem", directory / f"{name}.key")


def _openssl(*arguments: str | Path) -> None:
    made = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
    if made.returncode:
        raise RuntimeError(made.stderr.decode(errors="replace"))
