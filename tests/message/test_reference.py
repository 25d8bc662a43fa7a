import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.message.fields import read_draft_header
from imapproxy.message.reference import refuse_references
from tests.message.samples import draft

URL = "imap://fred@mail.example.com/INBOX;UIDVALIDITY=1/;UID=20"


def refuse(text: str) -> None:
    octets = draft(text)
    refuse_references(read_draft_header(octets), octets)


def part(parameters: str, kind: str = "message/external-body") -> str:
    return f"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: {kind}; {parameters}\n\nA: b\n\n--b--\n"


@pytest.mark.parametrize(
    "text",
    [
        part(f'access-type=URL; URL="{URL}"'),
        part(f'ACCESS-TYPE=url;\n\turl="{URL.upper()}"', "Message/External-Body"),
        part('access-type=URL; URL="/INBOX/;UID=20"'),
        part('access-type=URL; URL=" imaps://x/INBOX/;UID=20"'),
        part('access-type=URL; URL="imap+x://x/INBOX/;UID=20"'),
        part("access-type*=''%55RL; URL*0=\"im\"; URL*1*=ap%3A//x"),
        part(f'access-type=URL; URL="{URL}"').replace("mixed", "signed"),
        f'Content-Type: message/external-body; access-type=URL; URL="{URL}"\n\nA: b\n\n',
        part(f'access-type=URL; URL="{URL}"').replace("--b\n", f"--b\n\n{'.' * 70_000}\n--b\n", 1),
    ],
)
def test_references_are_refused(text: str) -> None:
    with pytest.raises(SubmissionRefused, match=r"^5\.6\.6 references are not supported$"):
        refuse(text)


@pytest.mark.parametrize(
    "text",
    [
        "A: b\n\nRFC 2017 describes message/external-body; access-type=URL\n",
        part('access-type=URL; URL="https://example.com/imap:"'),
        part(f'access-type=anon-ftp; URL="{URL}"'),
        part("access-type=URL"),
        part(f'access-type=URL; URL="{URL}"', "text/external-body"),
        f"Content-Type: message/rfc822\n\n{part(f'access-type=URL; URL=/{URL}')}",
        "A: b\n",
    ],
)
def test_what_is_no_reference_of_the_senders_own_is_not(text: str) -> None:
    refuse(text)
