r"""A draft with references, and what its parts become: each reference what it names, all else what it was.

The input is a draft, ``\0``, the header of what is stored on the server, ``\0``, and what is stored.
"""

from collections.abc import Iterator
from dataclasses import replace

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.inclusion import Unfit
from imapproxy.message.message import Message, read_draft
from imapproxy.message.reference import Reference
from tests.fuzz.reference.lines import lines_of
from tests.fuzz.reference.mime import Doubtful, Entity, imap_url_of, parts_of, read_entity
from tests.message.samples import ALL, FRED, SEVEN_BIT, SITE, STAMP, Mailbox, checked, normalised

_SEALED = {"multipart/signed", "multipart/encrypted"}
# Of a URL, in what is said of it.
_MAX_TEXT = 200


def check(octets: bytes) -> None:
    """Compose a message."""
    written, _, stored = octets.partition(b"\0")
    header, _, content = stored.partition(b"\0")
    try:
        draft = normalised(written)
        read = read_draft(draft, replace(SITE, from_policy="rewrite"), FRED, STAMP)
    except (ClientError, SubmissionRefused):
        return
    _check_references(draft, read.references)
    mailbox = Mailbox(
        {reference.content_section: content for reference in read.references}
        | {reference.header_section or "-": header for reference in read.references}
    )
    try:
        message = read.message([mailbox.named(reference) for reference in read.references], mailbox.kept)
        _check_conversion(message)
        sent, content = _sent(message, content)
    except (ClientError, SubmissionRefused):
        return
    if message.composition is not None:
        _check_composed(draft, sent, content)


def work(octets: bytes, _packet: int) -> None:
    """Compose a message, for a server that takes all and for one that takes seven bits."""
    written, _, stored = octets.partition(b"\0")
    header, _, content = stored.partition(b"\0")
    try:
        draft = read_draft(normalised(written), replace(SITE, from_policy="rewrite"), FRED, STAMP)
        mailbox = Mailbox(
            {reference.content_section: content for reference in draft.references}
            | {reference.header_section or "-": header for reference in draft.references},
            window=len(content) or 1,
        )
        message = draft.message([mailbox.named(reference) for reference in draft.references], mailbox.kept)
        for rendering in (message.rendering(ALL), message.kept().rendering(SEVEN_BIT)):
            for _chunk in rendering.chunks():
                pass
    except (ClientError, SubmissionRefused, Unfit):
        return


def _check_references(draft: bytes, references: tuple[Reference, ...]) -> None:
    try:
        urls = list(_urls(read_entity(draft), is_sealed=False))
    except Doubtful:
        return
    texts = ["".join(char if "!" <= char <= "~" else "?" for char in url)[:_MAX_TEXT] for url in urls]
    assert [reference.text for reference in references] == texts


def _urls(entity: Entity, is_sealed: bool) -> Iterator[str]:
    """Yield the references among a message's own parts."""
    url = imap_url_of(entity)
    if url is not None:
        assert not is_sealed, url
        yield url
    if entity.kind.startswith("multipart/"):
        for octets in parts_of(entity):
            yield from _urls(read_entity(octets, entity.part_kind), is_sealed or entity.kind in _SEALED)


def _check_conversion(message: Message) -> None:
    """Fail where a server that carries seven bits would get more."""
    try:
        rendering = message.rendering(SEVEN_BIT)
    except (ClientError, SubmissionRefused):
        return
    assert checked(rendering.chunks(), rendering.size).isascii()


def _sent(message: Message, content: bytes) -> tuple[bytes, bytes]:
    """Return the message as it is sent where that is possible, and what is included as it must be found in it."""
    rendering = message.rendering(ALL)
    try:
        return checked(rendering.chunks(), rendering.size), content
    except Unfit:
        rendering = message.kept().rendering(ALL)
        return checked(rendering.chunks(), rendering.size), b"\r\n".join(lines_of(content))


def _check_composed(draft: bytes, sent: bytes, content: bytes) -> None:
    try:
        before, after = read_entity(draft), read_entity(sent)
        if imap_url_of(before) is not None:
            _check_included(after, content, may_end=True)
        elif _holds_reference(before):
            _check_parts(before, after, content)
    except Doubtful:
        return


def _check_parts(before: Entity, after: Entity, content: bytes) -> None:
    """Fail where a multipart's parts are not what they were, or what stands for them."""
    assert before.kind == after.kind
    old, new = parts_of(before), parts_of(after)
    assert len(old) == len(new), (old, new)
    for was, became in zip(old, new, strict=True):
        part = read_entity(was, before.part_kind)
        if imap_url_of(part) is not None:
            _check_included(_included(became), content, may_end=False)
        elif _holds_reference(part):
            _check_parts(part, read_entity(became, before.part_kind), content)
        elif _is_fit(was):
            assert was == became, (was, became)


def _included(octets: bytes) -> Entity:
    """Return a part whose header is not ours to judge."""
    head, _, body = (b"\r\n" + octets).partition(b"\r\n\r\n")
    return replace(read_entity(b"\r\n"), octets=head, body=body)


def _check_included(entity: Entity, content: bytes, may_end: bool) -> None:
    if _is_fit(content):
        assert entity.body in {content, content + b"\r\n" if may_end else content}, (entity.body, content)


def _holds_reference(entity: Entity) -> bool:
    return entity.kind.startswith("multipart/") and any(True for _ in _urls(entity, is_sealed=False))


def _is_fit(octets: bytes) -> bool:
    return max(map(len, octets.split(b"\r\n"))) <= 998
