"""The process: from a configuration to listeners, and a signal that ends all sessions in order.

``run`` stands in a thread of its own here: it blocks the signals of the thread that calls it only, and a signal that
is sent to that thread ends it.
"""

import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from imapproxy.config import Config, parse_command_line
from imapproxy.errors import ConfigError
from imapproxy.net import process
from imapproxy.net import server as server_module
from imapproxy.net.mailboxes import ImapServer
from imapproxy.net.process import RUNNING_SUBMISSIONS, host_name, service_of
from imapproxy.net.relay import Patience
from imapproxy.protocol.capability import CAN_SUBMIT, CAN_SUBMIT_SENT, CAN_SUBMIT_URL, is_reusable, is_transparent
from tests.functional.fake_smtp import SILENCE, FakeSmtp, Script
from tests.net.peers import PATIENCE, Background, Log, Peer, accepted_by, listening, port_of

GREETING = b"* OK ready\r\n"
STOPPED = b"* BYE The server is shutting down\r\n"


def configuration(
    imap_port: int, *flags: str, listen: tuple[str, ...] = ("127.0.0.1:0",), smtp_port: int = 25
) -> Config:
    addresses = [flag for address in listen for flag in ("--listen", address)]
    imap, smtp = f"127.0.0.1:{imap_port}", f"127.0.0.1:{smtp_port}"
    required = ["--imap-server", imap, "--smtp-server", smtp, "--mail-domain", "example.com"]
    return parse_command_line([*addresses, *required, *flags]).config


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    """Leave this process as it was: ``run`` makes settings for the rest of its life."""
    limits, stack_size = resource.getrlimit(resource.RLIMIT_NOFILE), threading.stack_size()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    threading.stack_size(stack_size)


@pytest.fixture(autouse=True)
def short_spare_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spare threads end with the test."""
    monkeypatch.setattr(server_module, "SPARE_TIME", 0.2)


class Running:
    """A process that serves: its ports, and its end."""

    def __init__(self, config: Config, log: Log) -> None:
        self._work = Background(lambda: process.run(config))
        lines = [log.await_line("listening", count + 1) for count in range(len(config.listen))]
        self.ports = [int(line.rpartition(":")[2]) for line in lines]

    def connect(self, index: int = 0, host: str = "127.0.0.1") -> Peer:
        return Peer(socket.create_connection((host, self.ports[index]), timeout=PATIENCE))

    def tell(self, number: signal.Signals) -> None:
        if self._work.thread.is_alive() and self._work.thread.ident is not None:
            signal.pthread_kill(self._work.thread.ident, number)

    def end(self) -> None:
        self._work.result()


@contextmanager
def running(config: Config, log: Log) -> Iterator[Running]:
    program = Running(config, log)
    try:
        yield program
    finally:
        program.tell(signal.SIGTERM)
        program.end()


def test_all_addresses_are_listened_on(log: Log) -> None:
    hosts = ("127.0.0.1", "127.0.0.2")
    addresses = tuple(f"{host}:0" for host in hosts)
    with listening() as imap, running(configuration(port_of(imap), listen=addresses), log) as it:
        assert log.lines == [f"listening address={host}:{port}" for host, port in zip(hosts, it.ports, strict=True)]
        for index, host in enumerate(hosts):
            with it.connect(index, host) as client, accepted_by(imap) as server:
                server.say(GREETING)
                client.expect(GREETING)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_sessions_in_order(log: Log, number: signal.Signals) -> None:
    with listening() as imap, running(configuration(port_of(imap)), log) as it:
        sessions = [(it.connect(), accepted_by(imap)) for _ in range(2)]
        for client, server in sessions:
            server.say(GREETING)
            client.expect(GREETING)
        it.tell(number)
        for client, server in sessions:
            with client, server:
                assert client.hear_rest() == STOPPED
                assert server.hear_rest() == b""
        it.end()
        assert log.of("stopping") == [f"stopping signal={number.name}"]
        assert [line.split()[2] for line in log.of("disconnect")] == ["reason=stopped"] * 2
        with pytest.raises(ConnectionRefusedError):
            it.connect()


def test_a_submission_under_way_is_waited_for(log: Log) -> None:
    with submitting(log, (0.3, "250 2.1.0 ok")) as (program, client):
        program.tell(signal.SIGTERM)
        assert client.hear_rest() == b"b OK SUBMIT completed\r\n" + STOPPED
        program.end()
    assert log.of("sessions-cut-off") == []


def test_a_submission_that_takes_too_long_is_cut_off(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_PATIENCE", 0.1)
    with submitting(log, SILENCE) as (program, _):
        program.tell(signal.SIGTERM)
        program.end()
        assert log.of("sessions-cut-off") == ["sessions-cut-off patience=0.1"]
    log.await_line("disconnect")


@contextmanager
def submitting(log: Log, mail: Script) -> Iterator[tuple[Running, Peer]]:
    """Have a client wait for its submission, to an SMTP server that takes its time for MAIL."""
    with ExitStack() as stack:
        smtp = stack.enter_context(FakeSmtp(replies={"MAIL": mail}))
        imap = stack.enter_context(listening())
        program = stack.enter_context(running(configuration(port_of(imap), smtp_port=smtp.port), log))
        client = stack.enter_context(program.connect())
        server = stack.enter_context(accepted_by(imap))
        submit(client, server)
        await_submission(smtp, client)
        yield program, client


def submit(client: Peer, server: Peer) -> None:
    """Log in and submit, and leave the answer to come."""
    server.say(GREETING)
    client.say(b"a LOGIN fred pencil\r\n")
    server.expect(b"a LOGIN fred pencil\r\n")
    server.say(b"a OK done\r\n")
    client.expect(GREETING + b"a OK done\r\n")
    draft = b"To: ann@example.com\r\n\r\n"
    client.say(b"b SUBMIT {%d+}\r\n" % len(draft) + draft + b"\r\n")


def await_submission(smtp: FakeSmtp, client: Peer) -> None:
    """Wait until the SMTP server has been greeted: the draft is whole then."""
    while not any(verb == "EHLO" for verb in smtp.verbs()):
        assert not client.is_spoken_to(within=0.01)


def test_a_bad_address_leaves_nobody_served(log: Log) -> None:
    with listening() as other:
        taken = f"127.0.0.1:{port_of(other)}"
        config = configuration(1, listen=("127.0.0.1:0", taken))
        with pytest.raises(ConfigError, match=rf"^listen: cannot listen on {taken}: Address already in use$"):
            Background(lambda: process.run(config)).result()
    assert log.lines == []


def test_fewer_clients_than_wanted_are_allowed_where_descriptors_are_few(log: Log) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listening() as imap, running(configuration(port_of(imap), "--max-clients", str(hard)), log):
        (line,) = log.of("max-clients-lowered")
    assert line.endswith('reason="the limit of open files (ulimit -Hn)"')
    assert 0 < int(line.split()[1].removeprefix("to=")) < hard


def test_the_limit_of_clients_is_the_configured_one(log: Log) -> None:
    with listening() as imap, running(configuration(port_of(imap), "--max-clients", "1"), log) as it:
        first = it.connect()
        with first, accepted_by(imap), it.connect() as second:
            assert second.hear_rest() == b"* BYE Too many clients; try again later\r\n"


# The configuration.


@pytest.mark.parametrize(("mechanisms", "policy"), [("reusable", is_reusable), ("all", is_transparent)])
def test_mechanisms_follow_the_configuration(mechanisms: str, policy: object) -> None:
    assert service_of(configuration(1, "--auth-mechanisms", mechanisms), "host.example", 0).may_offer is policy


def test_a_service_is_what_the_configuration_says() -> None:
    config = configuration(
        1143,
        *("--login-timeout", "7", "--idle-timeout", "300", "--max-message-size", "3M", "--max-recipients", "9"),
        *("--from-policy", "trust", "--received-client-address", "off", "--smtp-timeout", "8", "--smtp-auth", "user"),
        *("--references", "off", "--max-composed-size", "4M", "--sent-mailbox", "Büro"),
        smtp_port=1025,
    )
    service = service_of(config, "host.example", 5)
    assert (service.imap, service.stop_fd) == (ImapServer("127.0.0.1", 1143), 5)
    assert service.patience == Patience(7, 300)
    assert service.max_message_size == 3 << 20
    site = service.site
    assert (site.mail_domains, site.from_policy, site.max_recipients) == (("example.com",), "trust", 9)
    assert (site.host_name, site.received_client_address) == ("host.example", False)
    assert (site.references, site.max_composed_size, site.sent_mailbox) == (False, 4 << 20, "Büro")
    smtp = service.smtp
    assert (smtp.host, smtp.port, smtp.auth, smtp.timeout) == ("127.0.0.1", 1025, "user", 8)
    assert smtp.host_name == "host.example"


@pytest.mark.parametrize(
    ("flags", "announced"),
    [
        ((), (CAN_SUBMIT, CAN_SUBMIT_URL)),
        (("--references=off",), (CAN_SUBMIT,)),
        (("--sent-mailbox=auto",), (CAN_SUBMIT, CAN_SUBMIT_URL, CAN_SUBMIT_SENT)),
    ],
)
def test_what_is_done_for_a_message_is_announced(flags: tuple[str, ...], announced: tuple[bytes, ...]) -> None:
    assert service_of(configuration(1, *flags), "host.example", 0).announced == announced


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ((), {"host.example", "127.0.0.1"}),  # the default of imap-server
        (("--server-names=Mail.example.,[::0:1]",), {"mail.example", "::1", "127.0.0.1"}),
        (("--imap-server=IMAP.example.:143",), {"host.example", "imap.example"}),
    ],
)
def test_the_imap_server_is_known_by_the_names_that_clients_use(flags: tuple[str, ...], names: set[str]) -> None:
    config = parse_command_line(["--mail-domain=example.com", *flags]).config
    assert service_of(config, "Host.Example", 0).site.server_names == names


def test_submissions_run_in_bounded_number() -> None:
    bound = service_of(configuration(1), "host.example", 0).running_submissions
    taken = [bound.acquire(blocking=False) for _ in range(RUNNING_SUBMISSIONS + 1)]
    assert taken == [True] * RUNNING_SUBMISSIONS + [False]


def test_the_host_name_is_this_machines_and_has_a_domain() -> None:
    name = socket.gethostname()
    assert host_name("example.com") == (name if "." in name else f"{name}.example.com")
    assert host_name(name) == name
