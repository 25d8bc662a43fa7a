"""What the running program tells of itself: ``imapproxy --status``, /metrics and /healthz."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.functional.fake_imap import Listener
from tests.functional.fake_smtp import FakeSmtp
from tests.functional.process import PATIENCE, public_directory
from tests.functional.proxy_process import PROGRAM, Options, Proxy, running_proxy
from tests.functional.scripted import DRAFT, Theatre, eventually, refusing_port, theatre

SOON = 10.0  # seconds for a NOOP, on a busy machine


def options_in(directory: Path) -> Options:
    return {
        "listen": {"listen": "127.0.0.1:0", "workers": "2"},
        "status": {"control-socket": str(directory / "control"), "status-listen": "127.0.0.1:0"},
    }


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with public_directory("status") as directory:  # a socket's path is short
        yield directory


@pytest.fixture(scope="module")
def house(directory: Path) -> Iterator[Theatre]:
    with theatre(directory, options_in(directory)) as opened:
        yield opened


def status(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``imapproxy --status``."""
    command = [sys.executable, str(PROGRAM), "--status", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def status_port(proxy: Proxy) -> int:
    match = re.search(r"status-listening address=127\.0\.0\.1:(\d+)", proxy.log())
    assert match
    return int(match[1])


def page(proxy: Proxy, path: str, accept: str = "") -> tuple[int, bytes]:
    """Return what an HTTP client gets."""
    request = Request(f"http://127.0.0.1:{status_port(proxy)}{path}", headers={"Accept": accept})
    try:
        with urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read()
    except HTTPError as failure:
        with failure:
            return failure.code, failure.read()


def metrics(proxy: Proxy) -> dict[str, float]:
    code, body = page(proxy, "/metrics")
    assert code == HTTPStatus.OK
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_who_is_connected_is_printed(house: Theatre, directory: Path) -> None:
    with house.fred(), house.scene() as stranger:
        stranger.server.send(b"* OK hello\r\n")
        stranger.client.line()
        done = status("-c", directory / "imapproxy.conf")
    assert (done.returncode, done.stderr) == (0, "")
    headings, *sessions, summary = done.stdout.splitlines()
    assert headings.split() == ["USER", "CLIENT", "TLS", "COMPRESS", "SINCE", "RECEIVED", "SENT", "DOING"]
    since = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"-     127\.0\.0\.1  -    -         {since}         0 +\d+  login", sessions[0])
    assert re.fullmatch(rf"fred  127\.0\.0\.1  -    -         {since}        21 +\d+  idle", sessions[1])
    assert re.match(r"imapproxy \S+: 2 sessions, 2 workers, \d+ logins?", summary)


def test_the_control_socket_alone_will_do(house: Theatre, directory: Path) -> None:
    assert eventually(lambda: ": 0 sessions, " in status("--control-socket", directory / "control").stdout)


def test_the_control_socket_is_not_everybodys(house: Theatre, directory: Path) -> None:
    assert stat.S_IMODE((directory / "control").stat().st_mode) & 0o007 == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 2, "imapproxy: --status: needs control-socket, the path with which the running proxy was started\n"),
        (
            ("--control-socket", "/nowhere/control"),
            1,
            "imapproxy: no imapproxy answers at /nowhere/control: is it running, with this control-socket?\n",
        ),
    ],
)
def test_when_nobody_can_be_asked_one_sentence_says_so(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = status(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", sentence)


def test_what_has_happened_is_counted(house: Theatre) -> None:
    before = metrics(house.proxy)
    with house.performance(), house.fred() as stage:
        assert stage.submit(DRAFT).startswith(b"OK ")
        house.script({"RCPT": "550 5.1.1 no such user"})
        assert stage.submit(DRAFT).startswith(b"NO ")
        with house.scene() as other:
            other.play(
                r"""
                S: * OK hello
                P: * OK hello
                C: a LOGIN ann guess
                U: a LOGIN ann guess
                S: a NO wrong
                P: a NO wrong
                """
            )

            def counted() -> dict[str, float]:
                return {name: value - before[name] for name, value in metrics(house.proxy).items()}

            assert eventually(lambda: counted()["imapproxy_logins_total{refused}"] == 1)
            now = counted()
    assert now["imapproxy_logins_total{accepted}"] == 1
    assert now["imapproxy_submissions_total{accepted}"] == now["imapproxy_submissions_total{refused}"] == 1
    assert now["imapproxy_connections_total"] == 2
    assert now["imapproxy_client_bytes_total{received}"] > 2 * len(DRAFT)
    assert metrics(house.proxy)["imapproxy_workers{serving}"] == 2


def test_sessions_come_and_go(house: Theatre) -> None:
    assert eventually(lambda: metrics(house.proxy)["imapproxy_sessions"] == 0)
    with house.fred(), house.fred():
        assert eventually(lambda: metrics(house.proxy)["imapproxy_sessions_logged_in"] == 2)
    assert eventually(lambda: metrics(house.proxy)["imapproxy_sessions"] == 0)


def test_other_scrapers_get_their_format(house: Theatre) -> None:
    _, body = page(house.proxy, "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


def test_all_is_well(house: Theatre) -> None:
    house.imap.accept  # noqa: B018 - the listener is open; that is all a health check wants
    code, body = page(house.proxy, "/healthz")
    assert code == HTTPStatus.OK
    assert json.loads(body) == {"status": "ok", "imapproxy": "ok", "imap": "ok", "smtp": "ok"}
    house.imap.accept().close()  # the health check's connection is no session's


def test_what_is_not_well_is_named() -> None:
    with (
        public_directory("status") as directory,
        Listener() as imap,
        refusing_port() as smtp_port,
        running_proxy(directory, imap.port, smtp_port, options_in(directory)) as proxy,
    ):
        code, body = page(proxy, "/healthz")
    assert code == HTTPStatus.SERVICE_UNAVAILABLE
    states = json.loads(body)
    assert (states["status"], states["imap"]) == ("failing", "ok")
    assert states["smtp"] == f"cannot reach 127.0.0.1:{smtp_port}: Connection refused"


def test_a_reload_forgets_nothing_of_what_was_counted() -> None:
    with (
        public_directory("status") as own,
        Listener() as imap,
        FakeSmtp() as smtp,
        running_proxy(own, imap.port, smtp.port, options_in(own)) as proxy,
    ):
        with Theatre(proxy, imap, smtp).fred():
            pass
        assert eventually(lambda: "disconnect user=fred" in proxy.log())
        before = metrics(proxy)
        os.kill(proxy.pid, signal.SIGHUP)
        assert eventually(lambda: proxy.log().count("worker-ended") == 2)  # the two from before
        after = metrics(proxy)
        for name in ("logins_total{accepted}", "connections_total", "client_bytes_total{sent}"):
            assert after[f"imapproxy_{name}"] == before[f"imapproxy_{name}"] > 0
        assert "2 workers, 1 login, " in status("--control-socket", own / "control").stdout


def test_who_abuses_the_status_disturbs_no_session(directory: Path) -> None:
    """Slow clients, too many of them, and requests that are too large: the sessions do not notice."""
    with (
        public_directory("status") as own,
        Listener() as imap,
        FakeSmtp() as smtp,
        running_proxy(own, imap.port, smtp.port, options_in(own)) as proxy,
        ExitStack() as abusers,
    ):
        port = status_port(proxy)
        house = Theatre(proxy, imap, smtp)
        with house.fred() as stage:
            for number in range(200):
                abuser = abusers.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
                abuser.setblocking(False)
                abuser.send(b"GET /metrics HTTP/1.1\r\n" if number % 2 else b"x" * 100_000)
                began = monotonic()
                stage.client.send(b"n NOOP\r\n")
                stage.server.expect(b"n NOOP\r\n")
                stage.server.send(b"n OK done\r\n")
                stage.client.expect(b"n OK done\r\n")
                assert monotonic() - began < SOON
            abusers.close()
            assert eventually(lambda: page(proxy, "/metrics")[0] == HTTPStatus.OK)
        assert "Traceback" not in proxy.log()
