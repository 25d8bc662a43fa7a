"""What a connection begins with that must begin with a PROXY header, as a slow reader of the specification reads it.

However it is cut it says the same, and who reads no more than is wanted leaves what stands behind it where it is.
"""

from collections.abc import Sequence

from imapproxy.protocol.proxy_header import ProxyHeader, ProxyHeaderError, ProxyHeaderReader, proxy_v2
from tests.fuzz.budget import cut
from tests.fuzz.chunking import chunkings
from tests.fuzz.reference.proxy import Malformed, read_header


def check(octets: bytes) -> None:
    """Read a header in every chunking, and write what it says."""
    try:
        expected = read_header(octets)
    except Malformed:
        for chunks in (*chunkings(octets), _wanted(octets)):
            assert _read(chunks) is None, octets
        return
    for chunks in chunkings(octets):
        found = _read(chunks)
        assert found is not None, octets
        header, behind = found
        assert (header is None) == (expected is None), octets
        if header and expected:
            assert (header.client, header.server, header.is_tls) == (expected.client, expected.server, expected.is_tls)
            assert octets[expected.size :].startswith(behind)
    if expected is not None:
        found = _read(_wanted(octets))
        assert found is not None
        assert found[1] == b""
        assert b"".join(_wanted(octets)) == octets[: expected.size]
        _check_written(found[0])


def work(octets: bytes, packet: int) -> None:
    """Read a header."""
    _read(list(cut(octets, packet)))


def _read(chunks: Sequence[bytes]) -> tuple[ProxyHeader | None, bytes] | None:
    """Return what the chunks say as far as a header goes, and what came with its end; None if it is none."""
    reader = ProxyHeaderReader()
    try:
        for chunk in chunks:
            header = reader.feed(chunk)
            if header is not None:
                return header, reader.leftover
    except ProxyHeaderError:
        return None
    return None, b""


def _wanted(octets: bytes) -> Sequence[bytes]:
    """Return the octets in chunks as they are wanted, up to the end of the header."""
    reader, chunks, position = ProxyHeaderReader(), [], 0
    try:
        while position < len(octets):
            assert reader.wanted > 0
            chunks.append(octets[position : position + reader.wanted])
            position += len(chunks[-1])
            if reader.feed(chunks[-1]) is not None:
                break
    except ProxyHeaderError:
        return chunks
    return chunks


def _check_written(header: ProxyHeader | None) -> None:
    """Fail where what is said to the server behind us is not what was heard."""
    if header is not None and header.client is not None and header.server is not None:
        assert ProxyHeaderReader().feed(proxy_v2(header.client, header.server, header.is_tls)) == header
