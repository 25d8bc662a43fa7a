"""The parts of a message, read line by line (RFC 2045, 5.1; RFC 2046, 5.1), where there is one way to read them.

Everything that readers may take in different ways is ``Doubtful``: comments, parameters in pieces, fields twice, what
is not of the grammar's form. A part is read when it is asked for, so that nothing is ever looked for in other parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.fuzz.reference.header import Header, read_header

_TSPECIALS = '()<>@,;:\\"/[]?='


class Doubtful(Exception):
    """It cannot be said what this is, or what it consists of."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A message or a part, its header apart from its body."""

    octets: bytes
    header: Header
    body: bytes
    kind: str
    parameters: Mapping[str, str]

    @property
    def part_kind(self) -> str:
        """The kind of parts within it that do not state theirs."""
        return "message/rfc822" if self.kind == "multipart/digest" else "text/plain"


def read_entity(octets: bytes, default: str = "text/plain") -> Entity:
    """Return what these octets are."""
    header = read_header(octets)
    if header is None:
        raise Doubtful
    stated = header.named("content-type")
    if len(stated) > 1 or len(header.named("content-transfer-encoding")) > 1:
        raise Doubtful
    kind, parameters = _content_type(stated[0].value) if stated else (default, {})
    return Entity(octets, header, octets[header.size :].removeprefix(b"\r\n"), kind, parameters)


def parts_of(entity: Entity) -> Sequence[bytes]:
    """Return the octets of each part of a multipart."""
    boundary = entity.parameters.get("boundary", "").encode("utf-8", "surrogateescape")
    if not boundary or boundary.endswith(b" "):
        raise Doubtful
    found: list[list[bytes]] = []
    current: list[bytes] | None = None
    for line in entity.body.split(b"\r\n"):
        stripped = line.rstrip(b" \t")
        if stripped == b"--" + boundary + b"--":
            if current is None:
                raise Doubtful
            return [b"\r\n".join(lines) for lines in found]
        if stripped == b"--" + boundary:
            current = []
            found.append(current)
        elif current is not None:
            current.append(line)
    raise Doubtful


def imap_url_of(entity: Entity) -> str | None:
    """Return the IMAP URL, white space dropped, of a part that refers to one."""
    if entity.kind != "message/external-body" or entity.parameters.get("access-type", "").lower() != "url":
        return None
    url = "".join(char for char in entity.parameters.get("url", "") if char not in " \t\r\n")
    scheme, colon, _ = url.partition(":")
    is_ours = url.startswith("/") or (colon and scheme.lower().startswith("imap") and _is_scheme(scheme))
    return url if is_ours else None


def _is_scheme(scheme: str) -> bool:
    return all(char.isascii() and (char.isalnum() or char in "+-.") for char in scheme)


def _content_type(value: str) -> tuple[str, Mapping[str, str]]:
    kind, position = _token(value, _after_space(value, 0))
    if value[position : position + 1] != "/":
        raise Doubtful
    subtype, position = _token(value, position + 1)
    parameters: dict[str, str] = {}
    while (position := _after_space(value, position)) < len(value):
        if value[position] != ";":
            raise Doubtful
        name, position = _token(value, _after_space(value, position + 1))
        if value[position : position + 1] != "=" or "*" in name or name.lower() in parameters:
            raise Doubtful
        parameters[name.lower()], position = _value(value, position + 1)
    return f"{kind}/{subtype}".lower(), parameters


def _after_space(text: str, position: int) -> int:
    while text[position : position + 1] in {" ", "\t"}:
        position += 1
    return position


def _token(text: str, start: int) -> tuple[str, int]:
    end = start
    while end < len(text) and "!" <= text[end] <= "~" and text[end] not in _TSPECIALS:
        end += 1
    if end == start:
        raise Doubtful
    return text[start:end], end


def _value(text: str, start: int) -> tuple[str, int]:
    if text[start : start + 1] != '"':
        return _token(text, start)
    content, position = "", start + 1
    while text[position : position + 1] != '"':
        position += text[position : position + 1] == "\\"
        if position >= len(text):
            raise Doubtful
        content += text[position]
        position += 1
    return content, position + 1
