"""Every command is somebody's: in whatever case its name stands, and only where a name stands."""

from collections.abc import Callable

import pytest

from tests.protocol.script import GREETING, LOGIN, Scene, play

OWN = ["LOGIN", "AUTHENTICATE", "UNAUTHENTICATE", "SUBMIT", "STARTTLS", "COMPRESS"]


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("spelt", [str.upper, str.lower, str.title])
def test_a_name_in_any_case_is_the_proxys_affair(name: str, spelt: Callable[[str], str]) -> None:
    scene = Scene()
    scene.play(GREETING)
    scene.client(f"a {spelt(name)}\r\n".encode())
    assert scene.to_upstream == b""
    assert scene.to_client.startswith((b"a BAD", b"a NO"))


@pytest.mark.parametrize("name", OWN)
def test_a_longer_name_or_another_place_is_not(name: str) -> None:
    for line in (f"a {name}X", f"a X{name}", f"{name} NOOP", f"a NOOP {name}", f"a UID {name}"):
        play(GREETING + LOGIN + f"C: {line}\nU: {line}")


def test_what_is_no_command_is_answered() -> None:
    play(GREETING + "C: nonsense\nP: nonsense BAD Not a command: a tag, a space, a name, CRLF at the end")
