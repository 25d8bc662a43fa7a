"""Real mail programs that call sendmail, each made to call imap-submit as the manual says, and by nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.functional.home import Home, Ran
from tests.functional.manual import example
from tests.functional.packages import require

MAILUTILS, BSD_MAILX = "/usr/bin/mail.mailutils", "/usr/bin/bsd-mailx"
GIT_SEND_EMAIL, GITS_ADDRESSES = "/usr/lib/git-core/git-send-email", "/usr/share/perl5/Mail/Address.pm"


@dataclass(frozen=True)
class Letter:
    """What a person wants to send; ``attachment`` is the name of a file in the home."""

    to: tuple[str, ...] = ("joe@example.com",)
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str = "Hello"
    body: str = "How are you?\n"
    attachment: str = ""


Send = Callable[[Home, Letter], Ran]

# What git format-patch and cron write above text that may hold more than US-ASCII.
UTF_8 = "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n"


def repeated(flag: str, values: tuple[str, ...]) -> list[str]:
    return [argument for value in values for argument in (flag, value)]


def told(heading: str, home: Home) -> str:
    """Return the line that the manual gives for a program, for where imap-submit is here."""
    return example(heading).replace("/usr/bin/imap-submit", str(home.imap_submit))


def mutt(home: Home, letter: Letter) -> Ran:
    require("mutt")
    home.write(".muttrc", told("mutt, neomutt", home))
    files = ["-a", letter.attachment] if letter.attachment else []
    copies = [*repeated("-c", letter.cc), *repeated("-b", letter.bcc)]
    return home.run("mutt", "-n", "-s", letter.subject, *copies, *files, "--", *letter.to, given=letter.body)


def mailutils(home: Home, letter: Letter) -> Ran:
    home.write(".mailrc", told("mail, of GNU mailutils", home))
    return run_mailutils(home, letter)


def run_mailutils(home: Home, letter: Letter) -> Ran:
    """Run it with the configuration that is there; further recipients are fields that are added."""
    require(MAILUTILS)
    copies = {"Cc": ", ".join(letter.cc), "Bcc": ", ".join(letter.bcc)}
    fields = repeated("-a", tuple(f"{name}: {text}" for name, text in copies.items() if text))
    files = ["-A", letter.attachment] if letter.attachment else []
    return home.run(MAILUTILS, "-s", letter.subject, *fields, *files, *letter.to, given=letter.body)


def bsd_mailx(home: Home, letter: Letter) -> Ran:
    """This one attaches nothing."""
    require(BSD_MAILX)
    home.write(".mailrc", told("mail, of BSD (bsd-mailx)", home))
    copies = [*repeated("-c", letter.cc), *repeated("-b", letter.bcc)]
    return home.run(BSD_MAILX, "-s", letter.subject, *copies, *letter.to, given=letter.body)


def git_send_email(home: Home, letter: Letter) -> Ran:
    """Send a patch, of which the letter's text is the description; this one attaches nothing."""
    home.write("0001.patch", f"From: {home.from_}\nSubject: {letter.subject}\n{UTF_8}\n{letter.body}")
    copies = [*repeated("--to", letter.to), *repeated("--cc", letter.cc), *repeated("--bcc", letter.bcc)]
    return run_git_send_email(home, *copies, "0001.patch")


def run_git_send_email(home: Home, *arguments: str) -> Ran:
    """Run it, configured; nobody is asked anything, and nobody gets a copy whom the arguments do not name."""
    require(GIT_SEND_EMAIL, GITS_ADDRESSES)
    home.run_script(told("git send-email", home))
    return home.run("git", "send-email", "--quiet", "--confirm=never", "--suppress-cc=all", *arguments)


PYTHON = """\
import subprocess, sys
from email.message import EmailMessage
sender, to, cc, bcc, subject, body, attachment = sys.argv[1:]
message = EmailMessage()
for field, text in {"From": sender, "To": to, "Cc": cc, "Bcc": bcc, "Subject": subject}.items():
    if text:
        message[field] = text
message.set_content(body)
if attachment:
    with open(attachment, "rb") as file:
        message.add_attachment(file.read(), maintype="application", subtype="octet-stream", filename=attachment)
"""


def python(home: Home, letter: Letter) -> Ran:
    script = PYTHON + example("A program of one's own")
    to, cc, bcc = (", ".join(addresses) for addresses in (letter.to, letter.cc, letter.bcc))
    return home.run("python3", "-c", script, home.from_, to, cc, bcc, letter.subject, letter.body, letter.attachment)


def cron(home: Home, letter: Letter) -> Ran:
    """Call it as Debian's cron calls sendmail, with the header that it writes; a job's output goes to one user."""
    (user,) = letter.to
    header = (
        f"From: root (Cron Daemon)\nTo: {user}\nSubject: Cron <root@host> {letter.subject}\n{UTF_8}"
        f"X-Cron-Env: <MAILTO={user}>\nX-Cron-Env: <PATH=/usr/bin:/bin>\n"
    )
    environment = {"HOME": str(home.directory), "LOGNAME": "root", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    arguments = ("-FCronDaemon", "-i", "-B8BITMIME", "-oem", user)
    return home.run(str(home.imap_submit), *arguments, given=f"{header}\n{letter.body}", environment=environment)
