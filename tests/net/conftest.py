"""What tests of the shell have in common: what is logged, a descriptor that says stop, certificates."""

import ssl
from collections.abc import Iterator

import pytest

from imapproxy.net.tls import client_context, server_context
from tests.functional.certificates import Certificates, make_certificates
from tests.net.peers import Log, Stop, logged, stop_descriptor


@pytest.fixture
def log() -> Iterator[Log]:
    with logged() as log:
        yield log


@pytest.fixture
def stop() -> Iterator[Stop]:
    with stop_descriptor() as stop:
        yield stop


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def as_server(certificates: Certificates) -> ssl.SSLContext:
    return server_context(str(certificates.cert), str(certificates.key))


@pytest.fixture(scope="session")
def as_client(certificates: Certificates) -> ssl.SSLContext:
    return client_context(str(certificates.ca), verify=True)
