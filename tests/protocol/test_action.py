"""Actions are values: equal when they say the same, and silent about secrets."""

from imapproxy.protocol.action import Close, Compress, LoggedIn, StartTls, Submit, ToClient, ToUpstream
from imapproxy.protocol.login import Credentials


def test_actions_compare_by_what_they_say() -> None:
    assert ToClient(b"x") == ToClient(b"x")
    assert ToClient(b"x") != ToClient(b"y")
    assert isinstance(ToUpstream(b"x"), ToUpstream)
    assert Close() == Close()
    assert isinstance(StartTls(), StartTls)
    assert not isinstance(Compress(), StartTls)


def test_no_secret_shows_in_an_action() -> None:
    credentials = Credentials("fred", "fred", "secret", "LOGIN")
    assert "secret" not in repr(Submit(credentials)) + repr(LoggedIn(credentials))
