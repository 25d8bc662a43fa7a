"""TLS for the tests: which real server shows what certificate, a client's context, and where clients are.

All of 127.0.0.0/8 is this machine. So a server can have a bad certificate on an address of its own, and a client that
comes from another address than the proxy is one that a server can tell from it.
"""

import ssl
from pathlib import Path

from tests.functional.certificates import Certificates, Pair, authority, signed

GOOD = "127.0.0.1"
# Why the certificate that is shown at an address is no good -> the address.
BAD = {"unknown": "127.0.0.2", "wrong name": "127.0.0.3", "expired": "127.0.0.4"}
# Where a client connects from.
FAR_AWAY = "127.0.0.77"


def pairs_by_address(certificates: Certificates) -> dict[str, Pair]:
    """Return address -> certificate; but for what its name in ``BAD`` says, each is good for its address."""
    directory = certificates.ca.parent
    ca = Pair(certificates.ca, certificates.ca.with_suffix(".key"))
    return {
        GOOD: Pair(certificates.cert, certificates.key),
        BAD["unknown"]: signed(directory, "far-unknown", authority(directory, "far-ca"), ["x"], [BAD["unknown"]]),
        BAD["wrong name"]: certificates.wrong_name,
        BAD["expired"]: signed(directory, "far-expired", ca, ["x"], [BAD["expired"]], days=-1),
    }


def trusting(ca: Path) -> ssl.SSLContext:
    """Return a client's context."""
    return ssl.create_default_context(cafile=str(ca))
