"""Who logs in, read in the one way that all servers agree on; None where they might not (RFC 9051, 6.2; RFC 4616)."""


def login_user(lines: list[bytes], literals: list[bytes]) -> bytes | None:
    """Return the first of LOGIN's two arguments; the lines stand around the literals, tag and name included."""
    arguments = lines[0].split(b" ", 2)[2] if lines[0].count(b" ") > 1 else b""
    rest, contents, values = [arguments, *lines[1:]], list(literals), []
    text = rest.pop(0)
    while text:
        if text.startswith(b'"'):
            value, text = _quoted(text[1:])
        elif text.startswith(b"{"):
            if not contents or not text.endswith(b"}"):
                return None
            value, text = contents.pop(0), rest.pop(0) if rest else b""
        else:
            value, space, text = text.partition(b" ")
            text = space + text
        values.append(value)
        if text and not text.startswith(b" "):
            return None
        text = text[1:]
    return values[0] if len(values) == 2 and not contents and not rest else None


def _quoted(text: bytes) -> tuple[bytes, bytes]:
    """Return what a quoted string says whose first quote has been read, and what stands behind it."""
    value = b""
    while text and not text.startswith(b'"'):
        if text.startswith(b"\\"):
            text = text[1:]
        value += text[:1]
        text = text[1:]
    return value, text[1:]


def sasl_user(mechanism: bytes, responses: list[bytes]) -> bytes | None:
    """Return the authorization identity that decoded SASL responses state."""
    if mechanism == b"PLAIN" and len(responses) == 1 and responses[0].count(b"\0") == 2:
        authorization, authentication, _ = responses[0].split(b"\0")
        return authorization or authentication
    if mechanism == b"LOGIN" and len(responses) == 2:
        return responses[0]
    if mechanism == b"XOAUTH2" and responses:
        user = responses[0].split(b"\x01")[0]
        return user[len(b"user=") :] if user[:5].lower() == b"user=" else None
    if mechanism == b"OAUTHBEARER" and responses:
        header = responses[0].split(b"\x01")[0].split(b",")
        if len(header) == 3 and header[1][:2].lower() == b"a=":
            return header[1][2:].replace(b"=2C", b",").replace(b"=3D", b"=")
    return None
