from collections.abc import Iterator
from itertools import chain

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.message.imap_url import parse_imap_url
from imapproxy.message.inclusion import Span, Streamed, Unfit
from imapproxy.message.reference import Reference
from imapproxy.message.segments import Rendering, rendering_of, whole
from imapproxy.net.client_address import User
from imapproxy.net.imap import BoundedIMAP
from imapproxy.net.imap_login import REFUSED
from imapproxy.net.mailboxes import Mailboxes
from imapproxy.net.reading import Reader
from imapproxy.net.spool import MEMORY_LIMIT
from imapproxy.protocol.login import Credentials
from tests.functional.fake_smtp import CLOSE, SILENCE
from tests.net.peers import nothing_left, nothing_waits_for_the_collector, open_descriptors, until
from tests.net.played import CLIENT, server_of
from tests.net.scripted_imap import HEAR, USUAL, Script, ScriptedImap, Turns

INTERVAL = 0.05  # seconds
FRED = User(Credentials("fred", "fred", "pencil", "PLAIN"), CLIENT)
TEXT = b"Subject: what is there\r\n\r\nHello\r\n"
LARGE = b"x" * 98 + b"\r\n"
MAILBOXES = {
    "INBOX": {
        1: {"": TEXT, "RFC822.SIZE": b"%d" % len(TEXT)},
        2: {"": LARGE * 20_000, "RFC822.SIZE": b"2000000"},
        3: {"": b"lone\rends\nand none", "RFC822.SIZE": b"19"},
        4: {"": b"NUL\0", "RFC822.SIZE": b"4"},
    },
    "Archive": {1: {"": LARGE, "RFC822.SIZE": b"100"}},
}


class Waits:
    """Counts the calls of ``waiting``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def mailboxes_of(
    server: ScriptedImap, most: int = 1 << 24, waiting: Waits | None = None, timeout: float = 10
) -> Mailboxes:
    return Mailboxes(server_of(server, timeout), FRED, most, waiting or Waits(), INTERVAL)


def reference(uid: int, mailbox: str = "INBOX") -> Reference:
    url = f"/{mailbox}/;UID={uid}"
    return Reference(parse_imap_url(url), url, None, "")


MESSAGE = rendering_of([whole(b"Subject: sent\r\n\r\n"), whole(b"Hello\r\n")], smtputf8=False)
OCTETS = b"Subject: sent\r\n\r\nHello\r\n"


def refusal(script: dict[str, Script], mailbox: str = "Sent", message: Rendering = MESSAGE) -> str:
    with nothing_left(), ScriptedImap(script, MAILBOXES) as server, mailboxes_of(server) as mailboxes:
        with pytest.raises(SubmissionRefused) as caught:
            mailboxes.append(mailbox, message)
        assert server.appended == []
    return caught.value.text


# Reading


def test_reads_by_one_connection_as_the_user() -> None:
    with nothing_left(), ScriptedImap(mailboxes=MAILBOXES) as server:
        with mailboxes_of(server) as mailboxes:
            found = [mailboxes.named(reference(uid)) for uid in (1, 2)]
            assert [each.content.size for each in found] == [len(TEXT), 2_000_000]
            assert b"".join(found[1].content.chunks()) == LARGE * 20_000
            assert b"".join(found[0].content.chunks()) == TEXT
        assert server.connections == 1
        assert server.answers == [b"\0fred\0pencil"]
        assert server.commands[-1] == "LOGOUT"


def test_connects_only_where_it_must() -> None:
    with ScriptedImap() as server:
        with mailboxes_of(server):
            pass
        assert server.connections == 0


def test_a_login_that_is_refused_is_told_as_it_is() -> None:
    with ScriptedImap({"AUTHENTICATE": "TAG NO no"}, MAILBOXES) as server, mailboxes_of(server) as mailboxes:
        with nothing_left(), pytest.raises(SubmissionRefused) as caught:
            mailboxes.named(reference(1))
        assert caught.value.text == REFUSED
        assert server.commands[-1] == "LOGOUT"


def test_waiting_is_called() -> None:
    waiting = Waits()
    fetched = Turns(chain(until(lambda: waiting.count >= 2), [USUAL]), USUAL)
    with (
        ScriptedImap({"UID FETCH": fetched}, MAILBOXES) as server,
        mailboxes_of(server, waiting=waiting) as mailboxes,
    ):
        mailboxes.named(reference(1))
        waited = waiting.count
        server.script["APPEND"] = Turns(chain(until(lambda: waiting.count >= waited + 2), [USUAL]))
        mailboxes.append("Sent", MESSAGE)


# Keeping


def test_keeps_contents_one_after_the_other() -> None:
    with nothing_left(), ScriptedImap(mailboxes=MAILBOXES) as server, mailboxes_of(server) as mailboxes:
        contents = [mailboxes.named(reference(uid)).content for uid in (1, 2, 3)]
        spans = mailboxes.kept(contents)
        again = mailboxes.kept(contents[:1])
        assert list(map(octets_of, spans)) == [TEXT, LARGE * 20_000, b"lone\r\nends\r\nand none"]
        assert list(map(octets_of, again)) == [TEXT]
        assert server.connections == 1


def octets_of(span: Span) -> bytes:
    return span.octets[span.start : span.end]


@pytest.mark.parametrize(
    ("uid", "most", "code"), [(4, 100, "5.6.0"), (1, len(TEXT) - 1, "5.3.4"), (3, 19, "5.3.4"), (99, 100, "5.6.6")]
)
def test_what_cannot_be_kept(uid: int, most: int, code: str) -> None:
    with nothing_left(), ScriptedImap(mailboxes=MAILBOXES) as server, mailboxes_of(server, most) as mailboxes:
        with pytest.raises(SubmissionRefused) as caught:
            mailboxes.kept([mailboxes.named(reference(uid)).content])
        assert caught.value.text.startswith(code)


def test_few_descriptors_are_needed() -> None:
    with ScriptedImap(mailboxes=MAILBOXES) as server, mailboxes_of(server) as mailboxes:
        before = open_descriptors()
        content = mailboxes.named(reference(2)).content
        assert content.size
        assert content.size > MEMORY_LIMIT
        mailboxes.kept([content])
        # one connection, the server's side of it, and one map
        assert len(open_descriptors() - before) == 3


def test_nothing_that_was_read_waits_for_the_collector() -> None:
    with nothing_waits_for_the_collector(Mailboxes, Reader, BoundedIMAP), ScriptedImap(mailboxes=MAILBOXES) as server:
        with mailboxes_of(server) as mailboxes:
            found = mailboxes.named(reference(2))
            assert b"".join(found.content.chunks()) == LARGE * 20_000
        del mailboxes, found


# Filing


def test_files_a_copy() -> None:
    with nothing_left(), ScriptedImap() as server:
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("Entwürfe", MESSAGE)
        assert server.appended == [OCTETS]
        append = f'APPEND "Entw&APw-rfe" (\\Seen) {{{len(OCTETS)}}}'
        assert server.commands == ["CAPABILITY", "AUTHENTICATE PLAIN", "CAPABILITY", append, "LOGOUT"]


def including(mailboxes: Mailboxes, uid: int) -> Rendering:
    content = mailboxes.named(reference(uid)).content
    return rendering_of([whole(b"Subject: sent\r\n\r\n"), Streamed(content), whole(b"\r\n--b--\r\n")], smtputf8=False)


def test_files_what_it_reads_meanwhile() -> None:
    with nothing_left(), ScriptedImap(mailboxes=MAILBOXES) as server:
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("Sent", including(mailboxes, 2))
        assert server.appended == [b"Subject: sent\r\n\r\n" + LARGE * 20_000 + b"\r\n--b--\r\n"]
        assert server.connections == 2


def test_files_by_the_connection_that_nothing_is_read_by_any_more() -> None:
    with nothing_left(), ScriptedImap(mailboxes=MAILBOXES) as server:
        with mailboxes_of(server) as mailboxes:
            mailboxes.named(reference(1))
            mailboxes.append("Sent", MESSAGE)
        assert server.appended == [OCTETS]
        assert server.connections == 1


CREATES = ['CREATE "Sent"', 'SUBSCRIBE "Sent"']
MISSING = "TAG NO [TRYCREATE] no such mailbox"
CATENATE = 'APPEND "Sent" (\\Seen) CATENATE (TEXT {17}'
CATENATED = ["Subject: sent", "", ' URL ";UID=1" TEXT {9}', "", "--b--", ")"]
TAKEN = ("+ go on", HEAR, HEAR, HEAR, "+ go on", HEAR, HEAR, HEAR, "TAG OK done")


def test_what_the_server_has_it_is_only_told_of() -> None:
    with nothing_left(), ScriptedImap({"APPEND": TAKEN}, MAILBOXES) as server:
        server.capabilities += " catenate"
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("Sent", including(mailboxes, 1))
        assert server.commands[-3:] == ["CAPABILITY", CATENATE, "LOGOUT"]
        assert server.heard == CATENATED
        assert (server.connections, server.appended) == (1, [])


@pytest.mark.parametrize("read_last", ["INBOX", "Archive"])
def test_what_lies_in_several_mailboxes_is_read(read_last: str) -> None:
    """Only what lies in the mailbox that is EXAMINEd can be named without touching the mailbox."""
    with nothing_left(), ScriptedImap(mailboxes=MAILBOXES) as server:
        server.capabilities += " CATENATE"
        with mailboxes_of(server) as mailboxes:
            mails = [Streamed(mailboxes.named(reference(1, name)).content) for name in ("INBOX", "Archive")]
            mailboxes.named(reference(1, read_last))
            mailboxes.append("Sent", rendering_of(mails, smtputf8=False))
        assert server.appended == [TEXT + LARGE]
        assert "CATENATE" not in "".join(server.commands)


def test_what_lies_in_a_mailbox_that_is_not_examined_any_more_is_read() -> None:
    with nothing_left(), ScriptedImap(mailboxes=MAILBOXES) as server:
        server.capabilities += " CATENATE"
        with mailboxes_of(server) as mailboxes:
            message = including(mailboxes, 1)
            mailboxes.named(reference(1, "Archive"))
            mailboxes.append("Sent", message)
        assert server.appended == [b"Subject: sent\r\n\r\n" + TEXT + b"\r\n--b--\r\n"]


def test_a_mailbox_is_made_for_what_is_put_together_too() -> None:
    with nothing_left(), ScriptedImap({"APPEND": Turns(MISSING, TAKEN)}, MAILBOXES) as server:
        server.capabilities += " CATENATE"
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("Sent", including(mailboxes, 1))
        assert server.commands[-5:] == [CATENATE, *CREATES, CATENATE, "LOGOUT"]
        assert server.heard == CATENATED


@pytest.mark.parametrize(
    "refused", ["TAG NO [BADURL] what?", "TAG BAD what?", ("+ go on", HEAR, HEAR, HEAR, "TAG NO no")]
)
def test_a_server_that_does_not_put_it_together_is_given_all_of_it(refused: Script) -> None:
    with nothing_left(), ScriptedImap({"APPEND": Turns(refused, USUAL)}, MAILBOXES) as server:
        server.capabilities += " CATENATE"
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("Sent", including(mailboxes, 1))
        assert server.appended == [b"Subject: sent\r\n\r\n" + TEXT + b"\r\n--b--\r\n"]
        assert server.connections == 2


def test_a_copy_that_may_be_there_is_not_filed_again() -> None:
    script: dict[str, Script] = {"APPEND": ("+ go on", HEAR, HEAR, HEAR, "+ go on", HEAR, HEAR, HEAR, CLOSE)}
    with nothing_left(), ScriptedImap(script, MAILBOXES) as server:
        server.capabilities += " CATENATE"
        with mailboxes_of(server) as mailboxes, pytest.raises(SubmissionRefused) as caught:
            mailboxes.append("Sent", including(mailboxes, 1))
        assert caught.value.text == "4.4.2 the connection to the IMAP server is lost"
        assert server.appended == []


@pytest.mark.parametrize(
    "script",
    [
        {"APPEND": Turns(MISSING, USUAL)},
        {"APPEND": Turns(("+ go on", HEAR, HEAR, HEAR, HEAR, MISSING), USUAL)},
        {"APPEND": Turns(MISSING, USUAL), "CREATE": "TAG NO [ALREADYEXISTS] somebody was faster"},
        {"APPEND": Turns(MISSING, USUAL), "SUBSCRIBE": "TAG NO no"},
        {"APPEND": Turns(MISSING, USUAL), "SUBSCRIBE": "TAG BAD no"},
    ],
)
def test_a_mailbox_is_made(script: dict[str, Script]) -> None:
    with ScriptedImap(script) as server:
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("Sent", MESSAGE)
        assert server.appended == [OCTETS]
        assert [command for command in server.commands if command.endswith('"Sent"')] == CREATES


@pytest.mark.parametrize(
    ("lists", "mailbox"),
    [
        (
            r'* LIST (\HasNoChildren) "/" INBOX' + "\n" + r'* LIST (\HasNoChildren \Sent) "/" "Gesendet & weg"',
            "Gesendet & weg",
        ),
        (r"* LIST (\sent) NIL {4}" + "\n" + 'a\\"b', 'a\\\\\\"b'),
        (r'* LIST (\Sent \Noselect) "/" a' + "\n" + r'* LIST (\Sent \NonExistent) "/" b', "b"),
        (r'* LIST (\Drafts) "/" Drafts', "Sent"),
        ("* OK there is none", "Sent"),
    ],
)
@pytest.mark.parametrize(("capability", "command"), [("", 'LIST "" "*"'), ("special-use", 'LIST (SPECIAL-USE) "" "*"')])
def test_the_mailbox_for_what_was_sent(lists: str, mailbox: str, capability: str, command: str) -> None:
    with ScriptedImap({"LIST": lists + "\nTAG OK done"}) as server:
        server.capabilities += f" {capability}"
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("auto", MESSAGE)
        assert command in server.commands
        assert server.commands[-2] == f'APPEND "{mailbox}" (\\Seen) {{{len(OCTETS)}}}'
        assert server.appended == [OCTETS]


BELOW_INBOX = '* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))\nTAG OK done'
NONE_MARKED = '* LIST () "." INBOX\nTAG OK done'


@pytest.mark.parametrize(
    ("mailbox", "name"),
    [
        ("auto", "INBOX.Sent"),
        ("Entwürfe", "INBOX.Entw&APw-rfe"),
        ("INBOX.Entwürfe", "INBOX.Entw&APw-rfe"),
        ("inbox", "inbox"),
        ("shared.office", "shared.office"),
    ],
)
@pytest.mark.parametrize("capability", ["NAMESPACE", "imap4rev2"])
def test_a_name_gets_the_prefix_of_the_personal_namespace(mailbox: str, name: str, capability: str) -> None:
    """On Courier, and on Cyrus without altnamespace, a user's mailboxes cannot be called otherwise."""
    script: dict[str, Script] = {"NAMESPACE": BELOW_INBOX, "LIST": NONE_MARKED, "APPEND": Turns(MISSING, USUAL)}
    with nothing_left(), ScriptedImap(script) as server:
        server.capabilities += f" {capability}"
        with mailboxes_of(server) as mailboxes:
            mailboxes.append(mailbox, MESSAGE)
        append = f'APPEND "{name}" (\\Seen) {{{len(OCTETS)}}}'
        assert server.commands[-6:-1] == ["NAMESPACE", append, f'CREATE "{name}"', f'SUBSCRIBE "{name}"', append]
        assert server.appended == [OCTETS]


@pytest.mark.parametrize(
    "answer", ["TAG OK done", "TAG NO no", "TAG BAD what?", "* NAMESPACE NIL NIL NIL\nTAG OK done"]
)
def test_a_name_is_left_as_it_is_if_the_server_names_no_prefix(answer: str) -> None:
    with ScriptedImap({"NAMESPACE": answer}) as server:
        server.capabilities += " NAMESPACE"
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("Sent", MESSAGE)
        assert server.commands[-2] == f'APPEND "Sent" (\\Seen) {{{len(OCTETS)}}}'


def test_a_marked_mailbox_has_its_full_name() -> None:
    with ScriptedImap({"NAMESPACE": BELOW_INBOX}) as server:
        server.capabilities += " NAMESPACE SPECIAL-USE"
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("auto", MESSAGE)
        assert "NAMESPACE" not in server.commands
        assert server.commands[-2] == f'APPEND "Gesendet" (\\Seen) {{{len(OCTETS)}}}'


def test_a_server_is_asked_once_what_it_can_do() -> None:
    with nothing_left(), ScriptedImap({"APPEND": TAKEN, "LIST": NONE_MARKED}, MAILBOXES) as server:
        server.capabilities += " CATENATE NAMESPACE"
        with mailboxes_of(server) as mailboxes:
            mailboxes.append("auto", including(mailboxes, 1))
        asked_before_login, *asked = [index for index, name in enumerate(server.commands) if name == "CAPABILITY"]
        assert (asked_before_login, len(asked)) == (0, 1)


OUT_OF_STEP = "4.5.0 the IMAP server sent what cannot be understood"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("* NAMESPACE what\nTAG OK done", OUT_OF_STEP),
        ('* NAMESPACE (("\xe9." ".")) NIL NIL\nTAG OK done', OUT_OF_STEP),
        ('* NAMESPACE (({3}\na\rb ".")) NIL NIL\nTAG OK done', "5.5.2 control character in an IMAP command"),
        ('* NAMESPACE (({2000000}\na ".")) NIL NIL\nTAG OK done', OUT_OF_STEP),
        ("* NAMESPACE (" + '("a" "/")' * 1000 + ") NIL NIL\nTAG OK done", OUT_OF_STEP),
        ([b"* NAMESPACE (" + b'("a" "/")' * 7000] * 100, OUT_OF_STEP),
        (CLOSE, "4.4.2 the connection to the IMAP server is lost"),
    ],
    ids=["no list", "not in ASCII", "a line end", "a huge literal", "too many", "without end", "lost"],
)
def test_no_copy_if_namespaces_cannot_be_read(answer: Script, text: str) -> None:
    assert (
        refusal({"NAMESPACE": answer, "CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=PLAIN NAMESPACE\nTAG OK done"}) == text
    )


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ({"LIST": "TAG NO not now"}, "not now"),
        ({"LIST": '* LIST (\\Sent) "/" "\xe9"\nTAG OK done'}, OUT_OF_STEP),
        ({"LIST": '* LIST (\\Sent) "/" {3}\na\rb\nTAG OK done'}, "5.5.2 control character in an IMAP command"),
        ({"LIST": "* LIST what\nTAG OK done"}, OUT_OF_STEP),
        ({"CAPABILITY": Turns(USUAL, "TAG OK none")}, "no"),
    ],
)
def test_no_mailbox_for_what_was_sent(script: dict[str, Script], text: str) -> None:
    assert refusal({"APPEND": "TAG NO no", **script}, "auto") == text


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ({"APPEND": "TAG NO [OVERQUOTA] Quota exceeded"}, "Quota exceeded"),
        ({"APPEND": "TAG BAD what?"}, "what?"),
        ({"APPEND": MISSING}, "no such mailbox"),
        ({"APPEND": MISSING, "CREATE": "TAG NO [NOPERM] not here"}, "not here"),
        ({"APPEND": CLOSE}, "4.4.2 the connection to the IMAP server is lost"),
        ({"APPEND": ("+ go on", CLOSE)}, "4.4.2 the connection to the IMAP server is lost"),
        ({"APPEND": ("* BYE full", CLOSE)}, "4.4.2 the IMAP server has ended the connection: full"),
        ({"GREETING": "* BYE no"}, "4.4.2 the IMAP server has ended the connection: no"),
        ({"AUTHENTICATE": "TAG NO no"}, REFUSED),
    ],
)
def test_no_copy(script: dict[str, Script], text: str) -> None:
    assert refusal(script) == text


def test_no_copy_in_what_is_no_name() -> None:
    assert refusal({}, "\udce9").startswith("5.6.6 no such mailbox")


def test_a_silent_server_files_no_copy() -> None:
    with ScriptedImap({"APPEND": SILENCE}) as server, mailboxes_of(server, timeout=0.3) as mailboxes:
        with pytest.raises(SubmissionRefused) as caught:
            mailboxes.append("Sent", MESSAGE)
        assert caught.value.text == "4.4.2 the IMAP server does not respond"


@pytest.mark.parametrize("error", [Unfit(), SubmissionRefused("4.4.2 lost"), KeyboardInterrupt()])
def test_a_copy_that_breaks_off_is_none(error: BaseException) -> None:
    class Breaking:
        size = len(OCTETS)

        def chunks(self) -> Iterator[bytes]:
            yield OCTETS[:10]
            raise error

    with nothing_left(), ScriptedImap() as server:
        with mailboxes_of(server) as mailboxes, pytest.raises(type(error)) as caught:
            mailboxes.append("Sent", rendering_of([Breaking()], smtputf8=False))
        assert caught.value is error
        assert server.appended == []
        assert server.commands[-1].startswith("APPEND")


def test_the_secret_does_not_show() -> None:
    with ScriptedImap(mailboxes=MAILBOXES) as server, mailboxes_of(server) as mailboxes:
        assert "pencil" not in repr(mailboxes) + repr(mailboxes.named(reference(1)))
