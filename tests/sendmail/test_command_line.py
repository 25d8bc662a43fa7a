"""The command line: what mail programs really pass, sendmail's other options, and the program's own."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy import __version__
from imapproxy.sendmail.accounts import KEYS, Wanted
from imapproxy.sendmail.command_line import Attachment, CommandLine, parse_command_line
from imapproxy.sendmail.failure import Failure

# What `imap-submit anna@example.com` is: the other options change it.
PLAIN = CommandLine(
    recipients=("anna@example.com",),
    header_recipients=False,
    sender=None,
    full_name="",
    dot_ends=True,
    attachments=(),
    find=None,
    mailbox="INBOX",
    limit=20,
    wanted=Wanted(),
    verbose=False,
    notes=(),
)
ANNA = "anna@example.com"


def refusal(*argv: str) -> str:
    with pytest.raises(Failure) as caught:
        parse_command_line(argv)
    assert caught.value.status == os.EX_USAGE
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("argv", "want"),
    [
        pytest.param(["--", ANNA, "b@example.com"], {"recipients": (ANNA, "b@example.com")}, id="mutt"),
        pytest.param(["-oem", "-oi", "--", ANNA], {"dot_ends": False}, id="mutt's default"),
        pytest.param(
            ["-B8BITMIME", "-f", "fred@example.com", "-N", "failure", "-R", "hdrs", "--", ANNA],
            {
                "sender": "fred@example.com",
                "notes": ("-N, -R: without effect, since SUBMIT carries no wish for delivery reports",),
            },
            id="mutt with dsn_notify",
        ),
        pytest.param(
            ["-a", "work", "-i", ANNA, "b@example.com"],
            {"wanted": Wanted(account="work"), "dot_ends": False, "recipients": (ANNA, "b@example.com")},
            id="git send-email with an argument of its user's",
        ),
        pytest.param(
            ["-oi", "-f", "root@vm", "-t"],
            {"dot_ends": False, "sender": "root@vm", "header_recipients": True, "recipients": ()},
            id="mailutils",
        ),
        pytest.param(
            ["-i", "-t", "-f", "fred@example.com", "-v"],
            {
                "dot_ends": False,
                "sender": "fred@example.com",
                "header_recipients": True,
                "verbose": True,
                "recipients": (),
            },
            id="bsd-mailx",
        ),
        pytest.param(
            ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"],
            {"full_name": "CronDaemon", "dot_ends": False, "recipients": ("root",)},
            id="cron",
        ),
        pytest.param(["-i", f"-f{ANNA}", "--", ANNA], {"dot_ends": False, "sender": ANNA}, id="PHP"),
        pytest.param(
            ["-oem", "-t", "-oi"], {"dot_ends": False, "header_recipients": True, "recipients": ()}, id="alpine"
        ),
    ],
)
def test_what_mail_programs_pass(argv: list[str], want: dict[str, object]) -> None:
    assert parse_command_line(argv) == replace(PLAIN, **want)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argv", "want"),
    [
        ([ANNA], {}),
        ([f"{ANNA}, b@example.com"], {"recipients": (f"{ANNA}, b@example.com",)}),
        (["-t", ANNA], {"header_recipients": True}),
        (["-ti", ANNA], {"header_recipients": True, "dot_ends": False}),
        (["-tirfred", ANNA], {"header_recipients": True, "dot_ends": False, "sender": "fred"}),
        (
            [ANNA, "-i", "b@example.com", "-v", "c@example.com"],
            {"recipients": (ANNA, "b@example.com", "c@example.com")},
        ),
        (["--", "-i", "--"], {"recipients": ("-i", "--")}),
        (["-r", "fred", ANNA], {"sender": "fred"}),
        (["-f", "fred", "-fanna", ANNA], {"sender": "anna"}),
        (["-F", "Fred Foobar", ANNA], {"full_name": "Fred Foobar"}),
        (["-FFred Foobar", ANNA], {"full_name": "Fred Foobar"}),
        (["-F", "Jörg", ANNA], {"full_name": "Jörg"}),
        (["-F", "-x-", ANNA], {"full_name": "-x-", "recipients": (ANNA,)}),
        (["-F-x-", ANNA], {"full_name": "-x-"}),
        (["-F", "-t", ANNA], {"full_name": "-t", "header_recipients": False}),
        (["-F", "--help", ANNA], {"full_name": "--help"}),
        (["-F", "", ANNA], {"full_name": "", "recipients": (ANNA,)}),
        (["-F=x", ANNA], {"full_name": "=x"}),
        (["-f=x@example.com", ANNA], {"sender": "=x@example.com"}),
        (["-f", "=x@example.com", ANNA], {"sender": "=x@example.com"}),
        (["-f", "-x@example.com", ANNA], {"sender": "-x@example.com"}),
        (["-tif", "-x", ANNA], {"header_recipients": True, "dot_ends": False, "sender": "-x"}),
        (["-Fa=b=c", ANNA], {"full_name": "a=b=c"}),
        (["-h", "-5", ANNA], {"recipients": (ANNA,)}),
    ],
)
def test_options_of_sendmail(argv: list[str], want: dict[str, object]) -> None:
    command_line = parse_command_line(argv)
    assert {name: getattr(command_line, name) for name in want} == want


@pytest.mark.parametrize(
    "ignored",
    [
        *("-Ac", "-Am", "-B7BIT", "-bm", "-em", "-G", "-h5", "-Ltag", "-m", "-n", "-odb", "-oem", "-oQ/tmp", "-om"),
        *("-OTimeout=1", "-pprotocol", "-U", "-Xfile", "-B 8BITMIME", "-b m", "-h 5", "-L tag", "-O a=b", "-o em"),
        *("-p protocol", "-X file"),
    ],
)
def test_what_only_tunes_sendmail_changes_nothing(ignored: str) -> None:
    assert parse_command_line([*ignored.split(" "), ANNA]) == PLAIN


def test_a_wish_that_cannot_be_fulfilled_is_noted_once() -> None:
    command_line = parse_command_line(["-Nnever", "-N", "delay", "-Vid", ANNA])
    assert command_line.notes == ("-N, -V: without effect, since SUBMIT carries no wish for delivery reports",)


@pytest.mark.parametrize(
    "argv",
    [["-bs"], ["-bp"], ["-bd"], ["-bi"], ["-bt"], ["-bv", ANNA], ["-b", "s"], ["-q"], ["-q30m"], ["-ts"], ["-I"]],
)
def test_what_asks_sendmail_to_be_something_else_is_refused(argv: list[str]) -> None:
    assert argv[0][:2] in refusal(*argv)


@pytest.mark.parametrize("argv", [["-f", "", ANNA], ["-f", "<>", ANNA], ["-f<>", ANNA], ["-r", " <> ", ANNA]])
def test_nobody_cannot_send(argv: list[str]) -> None:
    assert refusal(*argv) == "argument -f/-r: a message cannot be from nobody: SUBMIT says whose it is"


@pytest.mark.parametrize("argv", [[], ["-i"], ["-f", "fred"], ["--attach-from", "/INBOX/;UID=20"], ["--"]])
def test_a_message_must_have_recipients(argv: list[str]) -> None:
    assert refusal(*argv) == "no recipients: name them, or give -t if the message does"


@pytest.mark.parametrize("unknown", ["-z", "-z9", "--no-such", "--acc", "--acc=x", "-", "--SERVER=x"])
def test_unknown_options_are_named(unknown: str) -> None:
    assert refusal(unknown, ANNA) == f"no such option: '{unknown}'; see imap-submit --help"


@pytest.mark.parametrize("option", ["-f", "-F", "-a", "-B", "-X", "--attach-from", "--as", "--find", "--server"])
def test_an_option_without_its_value_is_refused(option: str) -> None:
    assert f"{option}" in refusal(ANNA, option)


@pytest.mark.parametrize("text", ["a\r\nBcc: eve@example.com", "a\0", "\x1b[31m", "\x85", "\udce4"])
@pytest.mark.parametrize("option", ["-f", "-F", "-a", "--as", "--find", "--server", "--"])
def test_control_characters_and_what_is_no_text_are_refused_and_never_shown(option: str, text: str) -> None:
    assert refusal(option, text) == f"{text!a} holds control characters, or is not UTF-8"


# --- attachments -------------------------------------------------------------------------------------------------


def test_attachments_come_in_the_order_given_each_with_its_name() -> None:
    command_line = parse_command_line(
        [
            *("--attach-from", "/INBOX/;UID=20/;SECTION=2", "--as", "The house.pdf", ANNA),
            *("--forward=/INBOX;UIDVALIDITY=1/;UID=21", "--attach-from=/Sent/;UID=3", "--attach-from", "/Sent/;UID=4"),
            "--as=für Anna.eml",
        ]
    )
    assert command_line.attachments == (
        Attachment("/INBOX/;UID=20/;SECTION=2", "The house.pdf"),
        Attachment("/INBOX;UIDVALIDITY=1/;UID=21"),
        Attachment("/Sent/;UID=3"),
        Attachment("/Sent/;UID=4", "für Anna.eml"),
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["--as", "x"],
        ["--as", "x", "--attach-from", "/INBOX/;UID=20"],
        ["--attach-from", "/INBOX/;UID=20", "--as", "y", "--as", "x"],
        ["--forward", "/INBOX/;UID=20", "--as", "x"],
    ],
)
def test_a_name_belongs_to_the_attachment_before_it(argv: list[str]) -> None:
    assert refusal(*argv, ANNA) == "--as 'x': must stand behind the --attach-from that it is for, and once"


@pytest.mark.parametrize("option", ["--attach-from", "--forward"])
def test_a_url_that_names_no_message_is_refused(option: str) -> None:
    assert refusal(option, "/INBOX", ANNA) == f"{option} '/INBOX': no /;UID= in it"


def test_a_part_cannot_be_forwarded_as_a_message() -> None:
    url = "/INBOX/;UID=20/;SECTION=2"
    assert refusal("--forward", url, ANNA) == f"--forward '{url}': names a part; a part is attached by --attach-from"


# --- search ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "want"),
    [
        (["--find", "FROM anna"], ("FROM anna", "INBOX", 20)),
        (["--find=FROM anna", "--in", "Gelöschte Objekte", "--limit", "1"], ("FROM anna", "Gelöschte Objekte", 1)),
        (["--limit=1000", "--find", "ALL"], ("ALL", "INBOX", 1000)),
        (["--find", ""], ("", "INBOX", 20)),
    ],
)
def test_search(argv: list[str], want: tuple[str, str, int]) -> None:
    command_line = parse_command_line(argv)
    assert (command_line.find, command_line.mailbox, command_line.limit) == want


@pytest.mark.parametrize("argv", [[ANNA], ["-t"], ["--", ANNA], ["--attach-from", "/INBOX/;UID=20"]])
def test_who_searches_does_not_send(argv: list[str]) -> None:
    assert refusal("--find", "ALL", *argv).startswith("--find sends nothing")


@pytest.mark.parametrize("argv", [["--in", "Sent"], ["--limit", "3"]])
def test_who_sends_does_not_search(argv: list[str]) -> None:
    assert refusal(*argv, ANNA) == "--in and --limit are for --find"


@pytest.mark.parametrize("argv", [["--in", ""], ["--in="]])
def test_a_mailbox_has_a_name(argv: list[str]) -> None:
    assert refusal("--find", "ALL", *argv) == "argument --in: it is no mailbox's name"


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", ""])
def test_the_limit_is_a_number(limit: str) -> None:
    assert refusal("--find", "ALL", f"--limit={limit}") == (
        f"argument --limit: '{limit}' is not a whole number from 1 to 1000"
    )


# --- the account -------------------------------------------------------------------------------------------------


def test_every_key_of_an_account_is_a_flag_and_is_handed_on_as_it_is() -> None:
    separate = [text for key in KEYS for text in (f"--{key.name}", f"{key.name}'s")]
    flags = tuple(f"--{key.name}={key.name}'s" for key in KEYS)
    assert parse_command_line([*separate, ANNA]).wanted == Wanted(flags=flags)
    assert parse_command_line([ANNA, *flags]).wanted == Wanted(flags=flags)


@pytest.mark.parametrize("argv", [["-a", "work", "-C", "f"], ["--account=work", "--config", "f"], ["-awork", "-Cf"]])
def test_the_account_is_named_and_its_file(argv: list[str]) -> None:
    assert parse_command_line([*argv, ANNA]).wanted == Wanted(account="work", file="f")


# --- all of it ---------------------------------------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command_line(["--version"])
    assert not caught.value.code
    assert capsys.readouterr().out == f"imap-submit {__version__}\n"


def test_help_names_the_options_and_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command_line(["--help"])
    assert not caught.value.code
    text = capsys.readouterr().out
    for option in ("-t", "-i", "-f", "-F", "-v", "-a", "-C", "--attach-from", "--as", "--forward", "--find", "--in"):
        assert f" {option} " in text
    for key in KEYS:
        assert f" --{key.name} " in text


OPTIONS = st.sampled_from(
    [
        *("-t", "-i", "-v", "-f", "-r", "-F", "-a", "-C", "-o", "-oi", "-b", "-q", "-N", "-tiF", "-B8BITMIME", "--"),
        *("--as", "--as=", "--attach-from", "--forward", "--find", "--in", "--limit", "--server", "--tls="),
        *("/INBOX/;UID=20", "/INBOX/;UID=20/;SECTION=2", ANNA, "root", "<>", "-", "=", " "),
    ]
)


def outcome(argv: list[str]) -> CommandLine | Failure:
    try:
        return parse_command_line(argv)
    except Failure as failure:
        return failure


@given(st.lists(OPTIONS | st.text(max_size=5), max_size=8))
def test_whatever_is_passed_is_understood_or_refused_printably(argv: list[str]) -> None:
    match outcome(argv):
        case Failure() as failure:
            assert failure.status == os.EX_USAGE
            assert str(failure).isprintable()
        case command_line:
            assert set(command_line.recipients) <= set(argv)
            assert (command_line.find is None) == bool(command_line.recipients or command_line.header_recipients)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"])), min_size=1))
def test_all_that_stands_behind_two_hyphens_is_recipients(recipients: list[str]) -> None:
    assert parse_command_line(["-i", "--", *recipients]).recipients == tuple(recipients)
