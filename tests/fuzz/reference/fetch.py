"""A response's values, octet by octet (RFC 9051, 9: msg-att, mailbox-list), from the octets behind FETCH or LIST.

A string, a literal, an atom or a number is its octets, NIL is None, a list is a tuple. What servers send that no
grammar has is read likewise: octets of eight bits, flags, spaces too many or too few around parentheses.
"""

from typing import TypeAlias

Value: TypeAlias = "bytes | tuple[Value, ...] | None"

# Lists within each other that are read.
MAX_DEPTH = 200

# What ends an atom or stands in none, besides controls.
_NO_ATOM = b'(){"'


class Unreadable(Exception):
    """It is no response."""


class _Reader:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0
        self._depth = 0

    def values(self) -> tuple[Value, ...]:
        """Read values up to the end of the list, or of all."""
        found: list[Value] = []
        while True:
            while self._peek() == b" ":
                self._at += 1
            if self._peek() in {b"", b")"}:
                return tuple(found)
            if self._peek() == b"(":
                self._at += 1
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise Unreadable
                found.append(self.values())
                self._expect(b")")
                self._depth -= 1
            else:
                found.append(self._scalar())
                if not self._is_delimited():
                    raise Unreadable

    def end(self) -> None:
        """Expect that nothing is left."""
        if self._peek():
            raise Unreadable

    def _scalar(self) -> Value:
        if self._peek() == b'"':
            return self._quoted()
        mark = self._octets[self._at :].removeprefix(b"~")
        if mark.startswith(b"{"):
            return self._literal(len(self._octets) - len(mark))
        start = self._at
        self._at = self._end_of_section()
        while self._at == start or not self._is_delimited():
            if self._peek() <= b" " or self._peek() == b"\x7f" or self._peek() in _NO_ATOM:
                raise Unreadable
            self._at += 1
        atom = self._octets[start : self._at]
        return None if atom.upper() == b"NIL" else atom

    def _is_delimited(self) -> bool:
        return self._peek() in {b"", b" ", b"(", b")"}

    def _end_of_section(self) -> int:
        """Return where an item's name with a section and an origin ends, if one stands here; it may hold spaces."""
        start = self._at
        for name in (b"BODY[", b"BINARY[", b"BINARY.SIZE["):
            section, bracket, rest = self._octets[start + len(name) :].partition(b"]")
            if self._octets[start : start + len(name)].upper() == name and bracket and _is_section(section):
                end = start + len(name) + len(section) + 1 + _length_of_origin(rest)
                return end if self._octets[end : end + 1] in {b"", b" ", b"(", b")"} else start
        return start

    def _quoted(self) -> bytes:
        self._at += 1
        content = b""
        while (octet := self._peek()) != b'"':
            if octet == b"\\":
                self._at += 1
                octet = self._peek()
            if octet in {b"", b"\0", b"\r", b"\n"}:
                raise Unreadable
            content += octet
            self._at += 1
        self._at += 1
        return content

    def _literal(self, brace: int) -> bytes:
        end = self._octets.find(b"}\r\n", brace)
        digits = self._octets[brace + 1 : end]
        if end < 0 or not 1 <= len(digits) <= 20 or not all(octet in b"0123456789" for octet in digits):
            raise Unreadable
        start = end + len(b"}\r\n")
        self._at = start + int(digits)
        if self._at > len(self._octets):
            raise Unreadable
        return self._octets[start : self._at]

    def _peek(self) -> bytes:
        return self._octets[self._at : self._at + 1]

    def _expect(self, octet: bytes) -> None:
        if self._peek() != octet:
            raise Unreadable
        self._at += 1


def _is_section(octets: bytes) -> bool:
    return all(0x20 <= octet < 0x7F and octet != ord("[") for octet in octets)


def _length_of_origin(octets: bytes) -> int:
    number, bracket, _ = octets[1:].partition(b">")
    return len(number) + 2 if octets[:1] == b"<" and bracket and number.isdigit() and len(number) <= 20 else 0


def read_fetch(octets: bytes) -> tuple[int, dict[bytes, Value]]:
    """Return a response's number, and its items by their names in upper case; the last of a name."""
    values = _values(octets)
    if len(values) != 2 or not isinstance(values[0], bytes) or not isinstance(values[1], tuple) or len(values[1]) % 2:
        raise Unreadable
    if not values[0].isdigit() or len(values[0]) > 20 or int(values[0]) >= 2**63:
        raise Unreadable
    items: dict[bytes, Value] = {}
    for name, value in zip(values[1][::2], values[1][1::2], strict=True):
        if not isinstance(name, bytes) or not name or not all(0x20 <= octet < 0x7F for octet in name):
            raise Unreadable
        items[name.upper()] = value
    return int(values[0]), items


def read_list(octets: bytes) -> tuple[set[str], bytes]:
    """Return a mailbox's attributes in lower case, and its name; an atom NIL is a name as good as any."""
    attributes, delimiter, name, *_ = (*_values(octets), (), (), ())
    if not isinstance(attributes, tuple) or isinstance(delimiter, tuple) or isinstance(name, tuple):
        raise Unreadable
    return {_attribute(value) for value in attributes}, b"NIL" if name is None else name


def _attribute(value: Value) -> str:
    if not isinstance(value, bytes) or not value.isascii():
        raise Unreadable
    return value.decode("ascii").lower()


def _values(octets: bytes) -> tuple[Value, ...]:
    reader = _Reader(octets)
    values = reader.values()
    reader.end()
    return values
