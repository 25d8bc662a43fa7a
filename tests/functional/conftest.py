"""The servers that the functional tests share: each is started once a session, when the first test wants it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.certificates import Certificates, Pair, make_certificates
from tests.functional.courier import Courier, running_courier
from tests.functional.cyrus import Cyrus, running_cyrus
from tests.functional.dovecot import Dovecot, SecuredDovecot, running_dovecot, running_secured_dovecot
from tests.functional.exim import Exim, running_exim
from tests.functional.imap_servers import IMAP_SERVERS, ImapServer, RealImapServer
from tests.functional.postfix import Postfix, running_postfix
from tests.functional.process import public_directory
from tests.functional.secured import GOOD, pairs_by_address
from tests.functional.unpacked import Unpacked, unpacked


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    with running_dovecot() as server:
        yield server


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    """Return them in a directory where servers that are not our user can read the keys, too."""
    with public_directory("imapproxy-certificates-") as directory:
        made = make_certificates(directory)
        readable_by_all(directory)
        yield made


@pytest.fixture(scope="session")
def pairs(certificates: Certificates) -> dict[str, Pair]:
    """Return the certificate with which real servers listen at each address, one good and three bad ones."""
    made = pairs_by_address(certificates)
    readable_by_all(certificates.ca.parent)
    return made


def readable_by_all(directory: Path) -> None:
    for path in directory.iterdir():
        path.chmod(0o644)


@pytest.fixture(scope="session")
def secured_dovecot(pairs: dict[str, Pair]) -> Iterator[SecuredDovecot]:
    with running_secured_dovecot(pairs) as server:
        yield server


@pytest.fixture(scope="session")
def postfix(dovecot: Dovecot, pairs: dict[str, Pair]) -> Iterator[Postfix]:
    with running_postfix(dovecot.auth_port, pairs) as server:
        yield server


@pytest.fixture(scope="session")
def programs() -> Iterator[Unpacked]:
    """Return the servers that no test may install."""
    with unpacked() as root:
        yield root


@pytest.fixture(scope="session")
def cyrus(programs: Unpacked, pairs: dict[str, Pair]) -> Iterator[Cyrus]:
    with running_cyrus(programs, pairs[GOOD]) as server:
        yield server


@pytest.fixture(scope="session")
def courier(programs: Unpacked, pairs: dict[str, Pair]) -> Iterator[Courier]:
    with running_courier(programs, pairs[GOOD]) as server:
        yield server


@pytest.fixture(scope="session")
def exim(programs: Unpacked, pairs: dict[str, Pair]) -> Iterator[Exim]:
    with running_exim(programs, pairs[GOOD]) as server:
        yield server


# The tables


@pytest.fixture(scope="session", params=IMAP_SERVERS, ids=lambda row: row.name)
def imap_row(request: pytest.FixtureRequest) -> ImapServer:
    """Return each row of the table of IMAP servers, one after the other."""
    row: ImapServer = request.param
    return row


@pytest.fixture(scope="session")
def imap(request: pytest.FixtureRequest, imap_row: ImapServer) -> RealImapServer:
    """Return the server that the row describes."""
    server: RealImapServer = request.getfixturevalue(imap_row.name)
    return server
