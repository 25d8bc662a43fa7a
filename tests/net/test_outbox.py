"""A draft while it comes in, and what keeps it from going out before anybody is asked; the rest is a session's test."""

import base64
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from imapproxy.errors import ClientError, DeliveryUncertain, SubmissionRefused
from imapproxy.net import outbox as outbox_module
from imapproxy.net.client_address import ClientAddress, User
from imapproxy.net.deliver import UNCERTAIN
from imapproxy.net.imap import BoundedIMAP
from imapproxy.net.journal import UNUSABLE, Claim, Earlier, Journal, Key, key_of
from imapproxy.net.journal_file import make
from imapproxy.net.outbox import Outbox
from imapproxy.net.patient import PatientStream
from imapproxy.net.service import Service
from imapproxy.net.smtp import BoundedSMTP
from imapproxy.net.spool import Keep, Spool
from imapproxy.protocol.login import Credentials
from imapproxy.submission import Submitted
from tests.functional.fake_smtp import CLOSE, FakeSmtp, Script, Turns
from tests.net.peers import SILENCE, Background, Log, Stop, nothing_left
from tests.net.scripted_imap import ScriptedImap
from tests.net.services import SITE, counting, service_for

FRED = User(
    Credentials(user="fred", login="fred", secret="sesame", mechanism="LOGIN"),
    ClientAddress("203.0.113.9", 40000, "198.51.100.1", 143, False),
)
DRAFT = memoryview(b"From: fred@example.com\r\nTo: ann@example.com\r\n\r\nhello\r\n")
IDENTIFIED = memoryview(b"Message-ID: <1@example.com>\r\n" + DRAFT)
FORWARD = (
    b"Message-ID: <2@example.com>\r\nFrom: fred@example.com\r\nTo: ann@example.com\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
    b'Content-Type: message/external-body; access-type=URL; URL="/INBOX/;UID=20"\r\n\r\n\r\n--x--\r\n'
)


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


def sent(outbox: Outbox) -> Submitted:
    """Submit the draft, which has not been sent before."""
    submitted = outbox.submit(FRED)
    assert isinstance(submitted, Submitted)
    return submitted


def ignore() -> None:
    """Do nothing while a submission takes its time."""


def test_a_draft_goes_out_once(stop: Stop) -> None:
    with FakeSmtp() as smtp:
        outbox = Outbox(service_for(1, smtp.port, stop.fd), ignore)
        outbox.write(DRAFT[:10])
        outbox.write(DRAFT[10:])
        submitted = sent(outbox)
        assert (submitted.recipients, submitted.size) == (1, len(smtp.messages[0].content))
        assert b"Received: from [203.0.113.9]\r\n" in smtp.messages[0].content
        with pytest.raises(ClientError, match="empty"):
            outbox.submit(FRED)


def test_what_is_dropped_is_gone(stop: Stop) -> None:
    outbox = Outbox(service_for(1, 25, stop.fd), ignore)
    outbox.write(DRAFT)
    outbox.drop()
    outbox.drop()
    with pytest.raises(ClientError, match="empty"):
        outbox.submit(FRED)


def test_what_went_wrong_with_a_draft_is_said_when_it_is_whole_and_then_forgotten(stop: Stop) -> None:
    with FakeSmtp() as smtp:
        outbox = Outbox(service_for(1, smtp.port, stop.fd), ignore)
        outbox.write(memoryview(b"\0"))
        outbox.write(DRAFT)
        with pytest.raises(ClientError, match="NUL"):
            outbox.submit(FRED)
        outbox.write(DRAFT)
        assert sent(outbox).recipients == 1


def test_a_user_past_the_limit_is_refused_before_anybody_is_asked(stop: Stop) -> None:
    with FakeSmtp() as smtp, counting(submissions_per_hour=1) as ledger:
        outbox = Outbox(service_for(1, smtp.port, stop.fd, ledger=ledger), ignore)
        outbox.write(DRAFT)
        outbox.submit(FRED)
        smtp.commands.clear()
        outbox.write(DRAFT)
        with pytest.raises(SubmissionRefused) as caught:
            outbox.submit(FRED)
        assert caught.value.text == "4.7.1 too many submissions; try again later"
        assert smtp.commands == []


SPELLINGS = ("alice", "ALICE", "Alice", "aLiCe")


def spelled(user: str) -> User:
    return replace(FRED, credentials=replace(FRED.credentials, user=user, login=user))


def test_a_limit_is_a_users_however_the_name_is_written(stop: Stop) -> None:
    with FakeSmtp() as smtp, counting(submissions_per_hour=2) as ledger:
        service = service_for(1, smtp.port, stop.fd, ledger=ledger)
        draft = memoryview(bytes(DRAFT).replace(b"fred@", b"alice@"))
        for user in SPELLINGS[:2]:
            assert isinstance(submitted(service, draft, spelled(user)), Submitted)
        for user in SPELLINGS:
            with pytest.raises(SubmissionRefused, match=r"4\.7\.1"):
                submitted(service, draft, spelled(user))
        assert len(smtp.messages) == 2


def test_while_others_submit_it_waits_and_says_so(stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "WAITING_INTERVAL", 0.01)
    places = threading.BoundedSemaphore(1)
    waits = []

    def wait() -> None:
        waits.append(1)
        if len(waits) == 3:
            places.release()

    with FakeSmtp() as smtp, places:
        outbox = Outbox(service_for(1, smtp.port, stop.fd, running_submissions=places), wait)
        outbox.write(DRAFT)
        assert sent(outbox).recipients == 1
        places.acquire()
    assert len(waits) == 3


# With a journal.


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    path = str(tmp_path / "journal")
    make(path)
    with closing(Journal(path)) as kept:
        yield kept


def submitted(
    service: Service, draft: memoryview = IDENTIFIED, user: User = FRED, waiting: Callable[[], None] = ignore
) -> Submitted | Earlier:
    outbox = Outbox(service, waiting)
    outbox.write(draft)
    return outbox.submit(user)


def key(draft: memoryview = IDENTIFIED) -> Key:
    with Spool() as spool:
        spool.write(draft)
        return key_of("fred", spool.digest())


def test_what_was_accepted_does_not_go_out_again(stop: Stop, journal: Journal) -> None:
    with FakeSmtp() as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=journal)
        assert isinstance(submitted(service), Submitted)
        again = submitted(service)
        assert isinstance(again, Earlier)
        assert again.reply == "250 2.0.0 ok: queued as FAKE1"
        assert len(smtp.messages) == 1


def test_another_user_or_another_octet_is_another_message(stop: Stop, journal: Journal) -> None:
    with FakeSmtp() as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=journal)
        ann = replace(FRED, credentials=replace(FRED.credentials, user="ann"))
        anybodys = memoryview(re.sub(rb"From: .*\r\n", b"", IDENTIFIED))
        for draft in (IDENTIFIED, memoryview(bytes(IDENTIFIED) + b"\r\n"), memoryview(bytes(IDENTIFIED)[:-2])):
            assert isinstance(submitted(service, draft), Submitted)
        for user in (FRED, ann):
            assert isinstance(submitted(service, anybodys, user), Submitted)
        assert len(smtp.messages) == 5


def test_a_user_has_submitted_it_however_the_name_is_written(stop: Stop, journal: Journal, log: Log) -> None:
    with FakeSmtp(replies={".": Turns(CLOSE, "250 ok")}) as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=journal)
        draft = memoryview(bytes(IDENTIFIED).replace(b"fred@", b"alice@"))
        with pytest.raises(DeliveryUncertain):
            submitted(service, draft, spelled("alice"))
        assert isinstance(submitted(service, draft, spelled("ALICE")), Submitted)
        assert log.of("double-possible")[0].split()[1] == "user=alice"
        for user in SPELLINGS:
            assert isinstance(submitted(service, draft, spelled(user)), Earlier)


def test_the_servers_are_told_the_name_as_the_client_wrote_it(stop: Stop) -> None:
    """Where letters matter to them, no other name would let the user in."""
    with FakeSmtp(["AUTH PLAIN"]) as smtp, ScriptedImap() as imap:
        service = service_for(imap.port, smtp.port, stop.fd, site=replace(SITE, sent_mailbox="Sent"))
        service = replace(service, smtp=replace(service.smtp, auth="user"))
        draft = memoryview(bytes(DRAFT).replace(b"fred@", b"alice@"))
        told = submitted(service, draft, spelled("aLiCe"))
        assert isinstance(told, Submitted)
        assert not told.sent_failure
        proof = b"\0aLiCe\0sesame"
        assert f"AUTH PLAIN {base64.b64encode(proof).decode()}" in smtp.commands
        assert imap.answers == [proof]


def test_what_has_neither_message_id_nor_date_goes_out_each_time(stop: Stop, journal: Journal) -> None:
    with FakeSmtp() as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=journal)
        for _ in range(2):
            assert isinstance(submitted(service, DRAFT), Submitted)
        assert len(smtp.messages) == 2


@pytest.mark.parametrize("refusal", [{"RCPT": "550 5.1.1 no"}, {".": "451 4.3.0 not now"}, {"GREETING": CLOSE}])
def test_what_was_refused_is_tried_again(stop: Stop, journal: Journal, refusal: dict[str, Script]) -> None:
    with FakeSmtp(replies=refusal) as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=journal)
        for _ in range(2):
            with pytest.raises(SubmissionRefused):
                submitted(service)
        smtp.script |= {"GREETING": "220 hi", "RCPT": "250 ok", ".": "250 ok"}
        smtp.messages.clear()
        assert isinstance(submitted(service), Submitted)
        assert len(smtp.messages) == 1


def test_what_may_have_been_accepted_goes_out_again_and_that_is_said(stop: Stop, journal: Journal, log: Log) -> None:
    with FakeSmtp(replies={".": Turns(CLOSE, "250 ok")}) as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=journal)
        with pytest.raises(DeliveryUncertain):
            submitted(service)
        assert log.of("double-possible") == []
        assert isinstance(submitted(service), Submitted)
        assert log.of("double-possible") == [
            "double-possible user=fred client=203.0.113.9 message=<1@example.com>",
        ]
        assert isinstance(submitted(service), Earlier)
        assert len(smtp.messages) == 2


def test_a_repetition_does_not_count_as_another_submission(stop: Stop, journal: Journal) -> None:
    with FakeSmtp() as smtp, counting(submissions_per_hour=1) as ledger:
        service = service_for(1, smtp.port, stop.fd, journal=journal, ledger=ledger)
        assert isinstance(submitted(service), Submitted)
        assert isinstance(submitted(service), Earlier)
        with pytest.raises(SubmissionRefused, match=r"4\.7\.1"):
            submitted(service, memoryview(bytes(IDENTIFIED) + b"\r\n"))
        with pytest.raises(SubmissionRefused, match=r"4\.7\.1"):  # nothing of the refused one is remembered
            submitted(service, memoryview(bytes(IDENTIFIED) + b"\r\n"))


@pytest.mark.parametrize(("accepts", "kind"), [(True, Earlier), (False, Submitted)])
def test_while_it_is_under_way_elsewhere_the_second_waits_for_what_becomes_of_it(
    stop: Stop, journal: Journal, monkeypatch: pytest.MonkeyPatch, accepts: bool, kind: type[Submitted | Earlier]
) -> None:
    monkeypatch.setattr(outbox_module, "CLAIM_INTERVAL", 0.005)
    monkeypatch.setattr(outbox_module, "WAITING_INTERVAL", 0.02)
    places = threading.BoundedSemaphore(1)
    waits = []
    first = journal.claim(key())
    assert isinstance(first, Claim)

    def wait() -> None:
        waits.append(1)
        assert places.acquire(blocking=False)  # it takes nobody's place meanwhile
        places.release()
        if len(waits) == 3:
            with first:
                if accepts:
                    first.accepted("250 first")

    with FakeSmtp() as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=journal, running_submissions=places)
        assert isinstance(submitted(service, waiting=wait), kind)
        assert len(smtp.messages) == (not accepts)
    assert len(waits) == 3


def test_who_waited_in_vain_is_answered_as_the_first_and_sends_nothing(
    stop: Stop, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "CLAIM_INTERVAL", 0.005)
    monkeypatch.setattr(outbox_module, "WAITING_INTERVAL", 0.02)
    first = journal.claim(key())
    assert isinstance(first, Claim)

    def lose_the_reply() -> None:
        with suppress(DeliveryUncertain), first:
            first.sending()
            raise DeliveryUncertain(UNCERTAIN)

    with FakeSmtp() as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=journal)
        with pytest.raises(DeliveryUncertain) as caught:
            submitted(service, waiting=lose_the_reply)
        assert caught.value.text == UNCERTAIN
        assert smtp.messages == []
        assert isinstance(submitted(service), Submitted)


def test_who_waits_goes_on_when_the_program_stops_as_the_first_does(stop: Stop, journal: Journal) -> None:
    """A NO would say that nobody got it."""
    first = journal.claim(key())
    assert isinstance(first, Claim)
    with first:
        stop.give()
        second = Background(lambda: submitted(service_for(1, 25, stop.fd, journal=journal)))
        second.thread.join(SILENCE)
        assert second.thread.is_alive()
        first.accepted("250 first")
    assert isinstance(second.result(), Earlier)


def test_who_waits_while_the_journal_goes_away_cannot_know(
    stop: Stop, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "CLAIM_INTERVAL", 0.005)
    first = journal.claim(key())
    assert isinstance(first, Claim)
    with first:
        second = Background(lambda: submitted(service_for(1, 25, stop.fd, journal=journal)))
        second.thread.join(SILENCE)
        (tmp_path / "journal").unlink()
        with pytest.raises(DeliveryUncertain) as caught:
            second.result()
        assert caught.value.text == UNCERTAIN


@pytest.mark.parametrize("mailbox", ["Sent", ""])
def test_it_is_noted_that_the_copy_in_sent_was_filed(stop: Stop, journal: Journal, mailbox: str) -> None:
    with FakeSmtp() as smtp, ScriptedImap() as imap:
        site = replace(SITE, sent_mailbox=mailbox)
        service = service_for(imap.port, smtp.port, stop.fd, journal=journal, site=site)
        assert isinstance(submitted(service), Submitted)
        again = submitted(service)
        assert isinstance(again, Earlier)
        assert again.is_filed == bool(mailbox)


def test_without_its_journal_nothing_is_sent_that_could_be_sent_twice(
    stop: Stop, tmp_path: Path, journal: Journal
) -> None:
    service = service_for(1, 25, stop.fd, journal=Journal(str(tmp_path / "gone")))
    with pytest.raises(SubmissionRefused) as caught:
        submitted(service)
    assert caught.value.text == UNUSABLE
    with FakeSmtp() as smtp:
        service = service_for(1, smtp.port, stop.fd, journal=Journal(str(tmp_path / "gone")))
        assert isinstance(submitted(service, DRAFT), Submitted)


def test_what_the_journal_cannot_note_gets_no_final_dot(stop: Stop, tmp_path: Path, journal: Journal) -> None:
    with FakeSmtp() as smtp:
        accepts = smtp.script["DATA"]

        def losing_the_journal() -> Iterator[Script]:
            (tmp_path / "journal").unlink()
            yield accepts

        smtp.script["DATA"] = losing_the_journal()
        with pytest.raises(SubmissionRefused) as caught:
            submitted(service_for(1, smtp.port, stop.fd, journal=journal))
        assert caught.value.text == UNUSABLE
    assert smtp.messages == []
    assert len(smtp.unfinished) == 1


# Once it is accepted nothing can end the session before the client hears so.


def fail_after(owner: type, name: str, failure: Exception, monkeypatch: pytest.MonkeyPatch, word: str = "") -> None:
    """Have a method do its work and then fail; where there is a word, only if it is the first argument."""
    usual = getattr(owner, name)

    def work_and_fail(self: object, *arguments: object) -> object:
        result = usual(self, *arguments)
        if not word or arguments[0] == word:
            raise failure
        return result

    monkeypatch.setattr(owner, name, work_and_fail)


LATE_STEPS = [
    pytest.param(BoundedSMTP, "docmd", "QUIT", id="QUIT"),
    pytest.param(PatientStream, "close", "", id="both connections' close"),
    pytest.param(BoundedIMAP, "logout", "", id="LOGOUT"),
    pytest.param(Keep, "close", "", id="what was kept"),
    pytest.param(Spool, "close", "", id="the draft"),
    pytest.param(Journal, "note_accepted", "", id="that it was accepted"),
    pytest.param(Journal, "note_filed", "", id="that it was filed"),
    pytest.param(Journal, "let_go", "", id="the claim's end"),
]
BREAKS = [OSError(5, "I/O error"), ssl.SSLError(1, "bad write retry"), UnicodeError("ascii"), KeyError("BYE")]

STORED = b"Subject: x\n\nlone line ends\n"


@pytest.mark.parametrize("failure", BREAKS, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize(("owner", "name", "word"), LATE_STEPS)
def test_nothing_that_fails_after_acceptance_hides_it(
    stop: Stop,
    journal: Journal,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    word: str,
    failure: Exception,
) -> None:
    stored = {"RFC822.SIZE": b"%d" % len(STORED), "": STORED}
    with FakeSmtp() as smtp, ScriptedImap(mailboxes={"INBOX": {20: stored}}) as imap:
        site = replace(SITE, sent_mailbox="Sent")
        service = service_for(imap.port, smtp.port, stop.fd, journal=journal, site=site)
        with monkeypatch.context() as broken:
            fail_after(owner, name, failure, broken, word)
            said = submitted(service, memoryview(FORWARD))
        assert isinstance(said, Submitted)
        assert not said.sent_failure
        assert len(smtp.messages) == len(imap.appended) == 1
        assert isinstance(submitted(service, memoryview(FORWARD)), Earlier)
    is_the_servers = name == "logout" and isinstance(failure, ValueError)  # imaplib's word for what it cannot read
    assert bool(log.of("cleanup-failed")) != is_the_servers


@pytest.mark.parametrize(("owner", "name", "word"), LATE_STEPS[:2])
@pytest.mark.parametrize("failure", BREAKS, ids=lambda failure: type(failure).__name__)
def test_nor_does_it_hide_a_refusal(
    stop: Stop, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, word: str, failure: Exception
) -> None:
    with FakeSmtp(replies={"RCPT": "550 5.1.1 no"}) as smtp:
        fail_after(owner, name, failure, monkeypatch, word)
        with pytest.raises(SubmissionRefused) as caught:
            submitted(service_for(1, smtp.port, stop.fd))
        assert str(caught.value) == ",ann@example.com"
