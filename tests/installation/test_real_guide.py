"""The first guide, to the letter: a Debian machine, from ``make install`` to messages sent over port 993.

``tests/functional/test_real_guides.py`` does more with less; here nothing is replaced: the ports, the files, the users
and the services are those that the guide names.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.certificates import Pair, authority, signed
from tests.functional.guide import Block, blocks, merged, under
from tests.functional.packages import require
from tests.functional.scripted import eventually
from tests.installation.machine import HOST_NAME, Debian, Machine
from tests.installation.make import ROOT
from tests.installation.test_make_install import SOURCES

GUIDE = blocks("dovecot-and-postfix.md")
PASSWORD = "secret\n"  # typed
LIVE = f"/etc/letsencrypt/live/{HOST_NAME}"
CONFIGURATION = "/etc/imapproxy/imapproxy.conf"
ALTERNATIVES = ("XCLIENT", "SASL")


@pytest.fixture(scope="module")
def machine(debian: Debian) -> Iterator[Machine]:
    """Return a machine that serves the users of example.com already, as the guide takes for granted."""
    require("curl")
    with debian.machine() as machine:
        machine.run("postconf", "-e", f"mydestination = {HOST_NAME}, example.com, localhost")
        machine.run("service", "postfix", "reload")
        yield machine


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return authority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture(scope="module")
def host(machine: Machine, ca: Pair) -> Machine:
    """Follow the guide as far as it goes with the first way to Postfix."""
    machine.path("/root/source").mkdir()
    archive = subprocess.run(["tar", "-c", *SOURCES], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    machine.path("/root/source.tar").write_bytes(archive)
    machine.run("tar", "-x", "-f", "/root/source.tar", "-C", "/root/source")
    install_certificate(machine, ca, "first")
    machine.path("/root/ca.pem").write_bytes(ca.cert.read_bytes())

    type_in(machine, under(GUIDE, "1. Install"), "/root/source")
    write(machine, [block for block in GUIDE if block not in under(GUIDE, *ALTERNATIVES, "7. Try it")])
    type_in(machine, under(GUIDE, "3. Configure"))
    type_in(machine, under(GUIDE, "6. Start"))
    return machine


def install_certificate(machine: Machine, ca: Pair, name: str) -> None:
    pair = signed(ca.cert.parent, name, ca, [HOST_NAME], ["127.0.0.1"])
    machine.path(LIVE).mkdir(parents=True, exist_ok=True)
    for file, made in (("fullchain.pem", pair.cert), ("privkey.pem", pair.key)):
        machine.path(f"{LIVE}/{file}").write_bytes(made.read_bytes())
    machine.path(f"{LIVE}/privkey.pem").chmod(0o600)


def write(machine: Machine, found: list[Block]) -> None:
    """Write what belongs into files: ``imapproxy.conf`` whole, all else added to what is there."""
    for block in found:
        if block.file.startswith("/"):
            path = machine.path(block.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if block.file == CONFIGURATION else "a", encoding="utf-8") as file:
                file.write(block.text)
            if block.text.startswith("#!"):
                path.chmod(0o755)


def type_in(machine: Machine, found: list[Block], directory: str = "/root") -> None:
    for block in found:
        if not block.file:
            machine.run("sh", "-e", "-c", f"cd {directory}\n{block.text}")


def test_message_is_sent_over_port_993(host: Machine) -> None:
    """Read, send, and read what was sent, as the guide has it tried."""
    read, program, send = under(GUIDE, "7. Try it")
    assert "MESSAGES" in curl(host, read.text)
    host.path(f"/root/{program.file}").write_text(program.text)
    assert sent(host, send) == "OK [b'SUBMIT completed']"
    assert eventually(lambda: "Hello Joe." in message_of(host, "joe", "INBOX"))
    assert "Hello Joe." in message_of(host, "fred", "Sent")


def test_second_try_is_told_of_the_first(host: Machine) -> None:
    """By the journal that the guide configures."""
    _, program, send = under(GUIDE, "7. Try it")
    subject = 'b"Subject: by the same connection",'
    assert subject in program.text
    text = program.text.replace(subject, 'b"Subject: once", b"Message-ID: <once@example.com>",')
    host.path(f"/root/{program.file}").write_text(text)
    assert sent(host, send) == "OK [b'SUBMIT completed']"
    assert sent(host, send).startswith("OK [b'SUBMIT completed (accepted earlier, at ")
    assert eventually(lambda: "Subject: once" in host.path("/var/mail/joe").read_text())
    assert host.path("/var/mail/joe").read_text().count("Subject: once") == 1


@pytest.mark.parametrize("way", ALTERNATIVES)
def test_message_is_sent_by_the_other_ways_to_postfix(host: Machine, way: str) -> None:
    whole = [*under(GUIDE, "3. Configure"), *under(GUIDE, way)]
    write(host, [block for block in under(GUIDE, way) if block.file != CONFIGURATION])
    texts = [block.text for block in whole if block.file == CONFIGURATION]
    host.path(CONFIGURATION).write_text(merged(texts))
    for service in ("dovecot", "postfix", "imapproxy"):
        host.run("service", service, "restart")
    _, program, send = under(GUIDE, "7. Try it")
    host.path(f"/root/{program.file}").write_text(program.text.replace("Hello Joe.", f"Hello by {way}."))
    assert sent(host, send) == "OK [b'SUBMIT completed']"
    assert eventually(lambda: f"Hello by {way}." in host.path("/var/mail/joe").read_text())


def sent(host: Machine, send: Block) -> str:
    """Run the guide's program on the machine; return its last line."""
    command = ("setsid", "--wait", "env", "SSL_CERT_FILE=/root/ca.pem", "sh", "-e", "-c", f"cd /root\n{send.text}")
    return host.run(*command, stdin=PASSWORD).splitlines()[-1]


def test_certificate_is_renewed(host: Machine, ca: Pair) -> None:
    [hook] = [block for block in under(GUIDE, "5. Renew") if block.file]
    first = shown(host)
    install_certificate(host, ca, "renewed")
    host.run(hook.file)
    assert eventually(lambda: shown(host) != first)


def shown(host: Machine) -> str:
    """Return the certificate that port 993 shows."""
    command = f"openssl s_client -connect 127.0.0.1:993 -servername {HOST_NAME} </dev/null 2>/dev/null"
    return there(host, f"{command} | openssl x509 -serial -noout")


def test_nothing_went_wrong(host: Machine) -> None:
    assert "Traceback" not in host.path("/var/log/imapproxy/imapproxy.log").read_text()
    host.run("service", "imapproxy", "stop")


def message_of(host: Machine, user: str, mailbox: str) -> str:
    return curl(host, f"curl --silent --user {user} 'imaps://{HOST_NAME}:993/{mailbox};MAILINDEX=1' || true")


def curl(host: Machine, text: str) -> str:
    """Type a command with curl, which is the host's, but in the machine's network; say the password."""
    return there(host, text, PASSWORD)


def there(host: Machine, text: str, keys: str = "") -> str:
    """Return what commands of this machine say in the network of that one."""
    resolving = f'curl() {{ command curl --resolve {HOST_NAME}:993:127.0.0.1 "$@"; }}\n'
    done = subprocess.run(
        ["nsenter", f"--target={host.pid}", "--net", "setsid", "--wait", "sh", "-c", resolving + text],
        env={**os.environ, "CURL_CA_BUNDLE": str(host.path("/root/ca.pem"))},
        input=keys,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=60,
        check=True,
    )
    return done.stdout


def test_guide_says_where_it_is_tested() -> None:
    text = (Path(ROOT) / "docs/dovecot-and-postfix.md").read_text(encoding="utf-8")
    assert str(Path(__file__).relative_to(ROOT)) in text
