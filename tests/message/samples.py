"""What the tests of the mail side share: a site, its users, and drafts written in plain text."""

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from imapproxy.message.draft import LineEnds, Octets
from imapproxy.message.inclusion import Content, Named, Span
from imapproxy.message.message import Extensions, Message, Site, Stamp, Submitter, read_draft
from imapproxy.message.reference import Reference

SITE = Site(
    mail_domains=("example.com", "example.org"),
    from_policy="check",
    identities={"fred": ("sales@example.com",)},
    max_recipients=5,
    host_name="mail.example.com",
    received_client_address=True,
    references=True,
    max_composed_size=100_000_000,
    sent_mailbox="",
    server_names=frozenset({"mail.example.com"}),
)
FRED = Submitter("fred", "192.0.2.1", "192.0.2.143")
STAMP = Stamp(datetime(2026, 11, 24, 3, 34, 42, tzinfo=UTC), "k3xo9qlm2v7ab4cd")

ALL = Extensions(eight_bit_mime=True, smtputf8=True)
EIGHT_BIT = Extensions(eight_bit_mime=True, smtputf8=False)
SEVEN_BIT = Extensions(eight_bit_mime=False, smtputf8=False)

DATE = "Tue, 24 Nov 2026 03:34:42 +0000"
RECEIVED = f"Received: from [192.0.2.1]\r\n\tby mail.example.com with IMAP id k3xo9qlm2v7ab4cd;\r\n\t{DATE}\r\n"
MESSAGE_ID = "<k3xo9qlm2v7ab4cd@mail.example.com>"


def normalised(*chunks: bytes) -> bytes:
    """Return the chunks as a spool takes them."""
    line_ends = LineEnds()
    return b"".join([*(piece for chunk in chunks for piece in line_ends.feed(chunk)), *line_ends.finish()])


def draft(text: str) -> bytes:
    """Return a text as a draft, in UTF-8 and surrogates as the octets they stand for."""
    return normalised(text.encode("utf-8", "surrogateescape"))


def mapped(octets: bytes) -> mmap.mmap:
    """Return the octets as a spool holds them that has more than fits."""
    mapping = mmap.mmap(-1, len(octets))
    mapping.write(octets)
    return mapping


def message(text: str, *, policy: str = "check", user: str = "fred") -> Message:
    """Return what a draft becomes on our site."""
    site = replace(SITE, from_policy=policy)  # type: ignore[arg-type]
    return message_of(draft(text), site, replace(FRED, user=user))


def message_of(octets: Octets, site: Site = SITE, submitter: Submitter = FRED) -> Message:
    """Return what a draft without references becomes."""
    return read_draft(octets, site, submitter, STAMP).message([], nothing_kept)


def nothing_kept(contents: Sequence[Content]) -> Sequence[Span]:
    """Stand where nothing is to be kept."""
    raise AssertionError(contents)


@dataclass(frozen=True, slots=True)
class Stored:
    """A content as an IMAP server hands it out, in windows of so many octets."""

    octets: bytes
    size: int | None
    window: int = 7

    def chunks(self) -> Iterator[bytes]:
        """Yield the octets."""
        for start in range(0, len(self.octets), self.window):
            yield self.octets[start : start + self.window]


@dataclass(slots=True)
class Mailbox:
    """What lies on the server: a section's octets by the section's name, and how the server states their sizes."""

    sections: Mapping[str, bytes]
    kinds: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int | None] = field(default_factory=dict)
    window: int = 7
    kept_contents: int = 0

    def named(self, reference: Reference) -> Named:
        """Return what a reference names."""
        header = self.sections[reference.header_section] if reference.header_section else b""
        section = reference.content_section
        octets = self.sections[section]
        size = self.sizes.get(section, len(octets))
        return Named(header, Stored(octets, size, self.window), self.kinds.get(section, "text/plain"))

    def kept(self, contents: Sequence[Content]) -> Sequence[Span]:
        """Keep them one behind the other, each on a line of its own."""
        self.kept_contents += len(contents)
        kept, spans = bytearray(), []
        for content in contents:
            kept += b"\r\n"
            start = len(kept)
            line_ends = LineEnds()
            kept += b"".join([*line_ends.feed(b"".join(content.chunks())), *line_ends.flush()])
            spans.append((start, len(kept)))
        octets = mapped(bytes(kept))
        return [Span(octets, start, end) for start, end in spans]

    def message(self, text: str) -> Message:
        """Return what a draft becomes that refers to what lies here."""
        read = read_draft(draft(text), SITE, FRED, STAMP)
        return read.message([self.named(reference) for reference in read.references], self.kept)

    def sent(self, text: str, extensions: Extensions = ALL) -> bytes:
        """Return it as it is sent, checked for what holds of every rendering."""
        rendering = self.message(text).rendering(extensions)
        return checked(rendering.chunks(), rendering.size)


def sent(text: str, extensions: Extensions = ALL) -> bytes:
    """Return a draft as it is sent, checked for what holds of every rendering."""
    rendering = message(text).rendering(extensions)
    return checked(rendering.chunks(), rendering.size)


def checked(chunks: Iterable[bytes], size: int) -> bytes:
    """Return the chunks in one: of bounded size, as many octets as was said, in lines that SMTP carries."""
    pieces = list(chunks)
    octets = b"".join(pieces)
    assert max(map(len, pieces)) <= 256 * 1024
    assert len(octets) == size
    assert octets.endswith(b"\r\n")
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    return octets
