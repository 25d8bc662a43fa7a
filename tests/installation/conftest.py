"""What the tests of the installation share: one Debian, made when the first of them wants it."""

from collections.abc import Iterator

import pytest

from tests.installation.machine import Debian, running_debian


@pytest.fixture(scope="session")
def debian() -> Iterator[Debian]:
    with running_debian() as debian:
        yield debian
