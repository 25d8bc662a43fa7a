"""Lines of a message, whatever ends them: CRLF, a lone CR, a lone LF, or an LF behind several CRs."""


def lines_of(octets: bytes) -> list[bytes]:
    """Return the lines without their ends, found octet by octet; the last one is what has no end."""
    lines, line, crs = [], bytearray(), 0
    for octet in octets:
        if octet == ord("\r"):
            crs += 1
            continue
        for _ in range(1 if octet == ord("\n") else crs):
            lines.append(bytes(line))
            line.clear()
        crs = 0
        if octet != ord("\n"):
            line.append(octet)
    for _ in range(crs):
        lines.append(bytes(line))
        line.clear()
    return [*lines, bytes(line)]
