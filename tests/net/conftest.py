"""What tests of the shell have in common: what is logged, and a descriptor that says stop."""

from collections.abc import Iterator

import pytest

from tests.net.peers import Log, Stop, logged, stop_descriptor


@pytest.fixture
def log() -> Iterator[Log]:
    with logged() as log:
        yield log


@pytest.fixture
def stop() -> Iterator[Stop]:
    with stop_descriptor() as stop:
        yield stop
