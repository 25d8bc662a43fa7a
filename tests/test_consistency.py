"""Options that are good each for itself, and what is said of them together."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from imapproxy.consistency import contradictions, doubts, exposed_secrets
from imapproxy.options import OPTIONS, Config

NOWHERE = "there is nowhere to listen; give an address here or in listen-tls"
NO_CERTIFICATE = "needs tls-cert, a file with this host's certificate"


def configured(**given: str) -> Config:
    """The defaults but for what is given: attributes, their values as an administrator writes them."""
    texts: Mapping[str, list[str]] = {attribute: [text] for attribute, text in given.items()}
    return Config(**{option.attribute: option.value(texts.get(option.attribute)) for option in OPTIONS})


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert list(contradictions(configured())) == []
    assert list(doubts(configured())) == []
    assert list(exposed_secrets(configured(), "")) == []


CONTRADICTIONS: list[tuple[dict[str, str], list[tuple[str, str]]]] = [
    (
        {"smtp_auth": "fixed"},
        [("smtp-auth", "'fixed' needs smtp-username"), ("smtp-auth", "'fixed' needs smtp-password-file")],
    ),
    ({"smtp_auth": "fixed", "smtp_username": "fred"}, [("smtp-auth", "'fixed' needs smtp-password-file")]),
    (
        {"listen": "127.0.0.1:143,[0::1]:143", "imap_server": "[::1]:143"},
        [("imap-server", "[::1]:143 is where the proxy itself listens")],
    ),
    ({"listen": "127.0.0.1:25"}, [("smtp-server", "127.0.0.1:25 is where the proxy itself listens")]),
    ({"listen": "0.0.0.0:143"}, [("imap-server", "127.0.0.1:143 is where the proxy itself listens")]),
    (
        {"listen": "[::]:143", "imap_server": "localhost:143"},
        [("imap-server", "localhost:143 is where the proxy itself listens")],
    ),
    (
        {"listen_tls": "127.0.0.1:993", "tls_cert": __file__, "imap_server": "127.0.0.1:993"},
        [("imap-server", "127.0.0.1:993 is where the proxy itself listens")],
    ),
    ({"listen": ""}, [("listen", NOWHERE)]),
    ({"listen_tls": "[::1]:993"}, [("listen-tls", NO_CERTIFICATE)]),
    ({"require_tls": "on"}, [("require-tls", NO_CERTIFICATE)]),
    ({"tls_key": __file__}, [("tls-key", NO_CERTIFICATE)]),
    (
        {"listen": "[::1]:1", "listen_tls": "[::1]:1", "tls_cert": __file__},
        [("listen-tls", "[::1]:1 is given in listen too")],
    ),
    (
        {"listen": "[::1]:1", "status_listen": "[::1]:1", "control_socket": "/run/c"},
        [("status-listen", "[::1]:1 is given in listen too")],
    ),
    (
        {"daemon": "on"},
        [
            (
                "log-to",
                "nobody reads the stderr of a daemon; with daemon = on, set it to syslog or to a file's path",
            )
        ],
    ),
    ({"group": "root"}, [("group", "needs user; name both, or user alone")]),
    (
        {"status_listen": "127.0.0.1:0"},
        [("status-listen", "needs control-socket, a path at which the figures can be asked for")],
    ),
]


@pytest.mark.parametrize(("given", "want"), CONTRADICTIONS)
def test_what_cannot_be_used_together(given: dict[str, str], want: list[tuple[str, str]]) -> None:
    assert list(contradictions(configured(**given))) == want


@pytest.mark.parametrize(
    "given",
    [
        {"listen": "0.0.0.0:143", "imap_server": "[::1]:143"},
        {"listen": "[::]:143", "imap_server": "127.0.0.1:143"},
        {"listen": "0.0.0.0:1143", "imap_server": "127.0.0.1:143"},
        {"listen": "192.0.2.1:143", "imap_server": "127.0.0.1:143"},
        {"listen": "127.0.0.1:0,[::1]:0", "listen_tls": "127.0.0.1:0", "tls_cert": __file__},
        {"listen": "", "listen_tls": "[::]:993", "tls_cert": __file__},
    ],
)
def test_addresses_that_are_not_each_others(given: dict[str, str]) -> None:
    assert list(contradictions(configured(**given))) == []


DOUBTS: list[tuple[dict[str, str], tuple[str, str]]] = [
    ({"max_message_size": "200M"}, ("max-composed-size", "is less than max-message-size (209715200 octets)")),
    ({"references": "off", "server_names": "mail"}, ("server-names", "has no effect unless references = on")),
    ({"smtp_username": "fred"}, ("smtp-username", "has no effect unless smtp-auth = fixed")),
    (
        {"smtp_auth": "user", "auth_mechanisms": "all"},
        ("auth-mechanisms", "with 'all' and smtp-auth = user, some ways to log in cannot be used to submit"),
    ),
    (
        {"proxy_protocol_from": "127.0.0.1,::/0"},
        ("proxy-protocol-from", "::/0 lets every client say who it is; name the proxies alone"),
    ),
    ({"max_clients_per_ip": "1001"}, ("max-clients-per-ip", "has no effect above max-clients (1000)")),
    ({"imap_tls_ca": __file__}, ("imap-tls-ca", "has no effect unless imap-tls = starttls or on")),
    ({"smtp_tls_verify": "off"}, ("smtp-tls-verify", "has no effect unless smtp-tls = starttls or on")),
    (
        {"imap_tls": "starttls", "imap_tls_verify": "off", "imap_tls_ca": __file__},
        ("imap-tls-ca", "has no effect with imap-tls-verify = off"),
    ),
    (
        {"imap_tls": "starttls", "imap_tls_verify": "off", "imap_server": "mail:143"},
        (
            "imap-tls-verify",
            "is off: anybody on the way can pose as mail:143; name its certificate in imap-tls-ca instead",
        ),
    ),
    (
        {"imap_server": "127.0.0.1:993"},
        ("imap-tls", "at port 993 TLS begins with the first octet; is 'on' meant?"),
    ),
    (
        {"smtp_server": "127.0.0.1:587", "smtp_tls": "on"},
        ("smtp-tls", "at port 587 TLS begins with STARTTLS; is 'starttls' meant?"),
    ),
    ({"imap_server": "192.0.2.1:143"}, ("imap-tls", "is off: passwords travel in the clear to 192.0.2.1:143")),
    (
        {"smtp_server": "mail:587", "smtp_auth": "user"},
        ("smtp-tls", "is off: passwords travel in the clear to mail:587"),
    ),
]

UNDOUBTED: list[dict[str, str]] = [
    {"smtp_server": "mail:25"},  # no password goes there
    {"imap_server": "[::1]:143"},
    {"imap_server": "localhost:143"},
    {"imap_server": "mail:143", "imap_tls": "starttls"},
    {"imap_server": "mail:993", "imap_tls": "on"},
    {"imap_server": "127.0.0.1:143", "imap_tls": "starttls", "imap_tls_verify": "off"},
    {"listen": "", "listen_tls": "[::]:993", "tls_cert": __file__},
]


@pytest.mark.parametrize(("given", "want"), DOUBTS)
def test_what_is_hardly_meant(given: dict[str, str], want: tuple[str, str]) -> None:
    assert list(doubts(configured(**given))) == [want]


@pytest.mark.parametrize("given", UNDOUBTED)
def test_what_is_not_doubted(given: dict[str, str]) -> None:
    assert list(doubts(configured(**given))) == []


@pytest.mark.parametrize(
    ("listen", "require_tls", "want"),
    [
        ("127.0.0.1:143,0.0.0.0:144", "off", "0.0.0.0:144"),
        ("[::]:144", "off", "[::]:144"),
        ("mail:144", "off", "mail:144"),
        ("0.0.0.0:144", "on", None),
        ("127.0.0.1:144,[::1]:144", "off", None),
    ],
)
def test_who_may_log_in_without_tls_from_elsewhere(listen: str, require_tls: str, want: str | None) -> None:
    doubt = ("require-tls", f"is off: who does not ask for TLS sends a password in the clear to {want}")
    config = configured(listen=listen, require_tls=require_tls, tls_cert=__file__)
    assert list(doubts(config)) == ([doubt] if want else [])


def test_a_password_without_use(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    config = configured(smtp_password=str(password))
    assert list(doubts(config)) == [("smtp-password-file", "has no effect unless smtp-auth = fixed")]


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777])
def test_a_journal_where_others_could_put_another(mode: int, tmp_path: Path) -> None:
    tmp_path.chmod(mode)
    config = configured(journal=f"{tmp_path}/journal")
    wanted = [("journal", f"everybody can write to {tmp_path}; give it a directory of its own")]
    assert list(doubts(config)) == (wanted if mode & 0o002 else [])


@pytest.mark.parametrize(
    ("modes", "exposed"),
    [
        ({"tls-cert": 0o644}, ["tls-cert"]),
        ({"tls-cert": 0o640}, []),
        ({"tls-cert": 0o644, "tls-key": 0o600}, []),
        ({"tls-cert": 0o600, "tls-key": 0o604}, ["tls-key"]),
        ({"smtp-password-file": 0o600}, []),
        ({"smtp-password-file": 0o640}, []),
        ({"smtp-password-file": 0o644}, ["smtp-password-file"]),
        ({"smtp-password-file": 0o644, "tls-cert": 0o644}, ["smtp-password-file", "tls-cert"]),
    ],
)
def test_secrets_that_everybody_can_read(modes: dict[str, int], exposed: list[str], tmp_path: Path) -> None:
    for name, mode in modes.items():
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    files = {name: str(tmp_path / name) for name in modes}
    config = configured(tls_cert=files.get("tls-cert", ""), tls_key=files.get("tls-key", ""))
    assert list(exposed_secrets(config, files.get("smtp-password-file", ""))) == [
        (name, f"{tmp_path}/{name} can be read by everybody; chmod o-r is advised") for name in exposed
    ]
