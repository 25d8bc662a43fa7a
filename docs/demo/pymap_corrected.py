"""Two answers of pymap 0.36 put right, on which a client relies that reads a part of a message in pieces.

pymap says how large a part is with its header, and takes the line end before a boundary to be the part's own.
"""

from collections.abc import Sequence

from pymap import mime
from pymap.backend.dict import mailbox
from pymap.mime import MessageBody, MessageContent
from pymap.parsing.response.fetch import BodyStructure, ContentBodyStructure

Line = tuple[int, int, int]  # where a line begins, where its line end begins, and where that ends


class CorrectedMessage(mailbox.LoadedMessage):
    """A message whose BODYSTRUCTURE gives the octets and lines of bodies alone (RFC 3501 7.4.2)."""

    @classmethod
    def _get_size_with_lines(cls, msg: MessageContent) -> tuple[int, int]:
        return len(msg.body), msg.body.lines - 1  # pymap counts what follows the last line end as a line

    @classmethod
    def _get_body_structure(cls, msg: MessageContent) -> BodyStructure:
        structure = super()._get_body_structure(msg)
        if isinstance(structure, ContentBodyStructure):  # any but a multipart, whose size is not said
            structure.size = len(msg.body)
        return structure


class CorrectedBody(MessageBody):
    """A body whose parts end before the line end that belongs to the boundary (RFC 2046 5.1.1)."""

    @classmethod
    def _find_parts(
        cls, data: bytes, view: memoryview, lines: Sequence[Line], boundary: bytes
    ) -> Sequence[Sequence[Line]]:
        return [_without_last_line_end(part) for part in super()._find_parts(data, view, lines, boundary)]


def _without_last_line_end(lines: Sequence[Line]) -> Sequence[Line]:
    return [*lines[:-1], *((start, end, end) for start, end, _ in lines[-1:])]


def correct_pymap() -> None:
    """Let pymap make its messages and bodies of these classes; it has no other way to be told."""
    mailbox.LoadedMessage = CorrectedMessage  # type: ignore[misc]
    mime.MessageBody = CorrectedBody  # type: ignore[misc]
