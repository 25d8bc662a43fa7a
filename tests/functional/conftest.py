"""The servers that the functional tests share: each is started once a session, when the first test wants it."""

from collections.abc import Iterator

import pytest

from tests.functional.dovecot import Dovecot, running_dovecot
from tests.functional.postfix import Postfix, running_postfix


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    with running_dovecot() as server:
        yield server


@pytest.fixture(scope="session")
def postfix(dovecot: Dovecot) -> Iterator[Postfix]:
    with running_postfix(dovecot.auth_port) as server:
        yield server
