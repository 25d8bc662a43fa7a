"""From a configuration to TLS contexts."""

import ssl
from pathlib import Path

import pytest

from imapproxy.config import parse_command_line
from imapproxy.errors import ConfigError
from imapproxy.net.contexts import TlsContexts, contexts_of
from tests.functional.certificates import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def contexts(*flags: str) -> TlsContexts:
    return contexts_of(parse_command_line(["--mail-domain=example.com", *flags]).config)


def test_without_tls_there_are_none() -> None:
    assert contexts() == TlsContexts(None, None, None)


@pytest.mark.parametrize("how", ["starttls", "on"])
def test_each_side_has_its_own(certificates: Certificates, how: str) -> None:
    made = contexts(
        f"--tls-cert={certificates.cert}",
        f"--tls-key={certificates.key}",
        f"--imap-tls={how}",
        f"--smtp-tls={how}",
        "--smtp-tls-verify=off",
    )
    assert made.server
    assert made.imap
    assert made.smtp
    assert (made.imap.verify_mode, made.smtp.verify_mode) == (ssl.CERT_REQUIRED, ssl.CERT_NONE)


def test_the_key_may_be_in_the_certificates_file(certificates: Certificates) -> None:
    assert contexts(f"--tls-cert={certificates.both}").server


def test_a_ca_of_ones_own_is_taken(certificates: Certificates) -> None:
    made = contexts("--imap-tls=on", f"--imap-tls-ca={certificates.ca}")
    assert made.imap
    assert len(made.imap.get_ca_certs()) == 1


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("nothing\n", encoding="ascii")
    with pytest.raises(ConfigError, match=str(file)):
        contexts(f"--tls-cert={file}")
