"""INI files: what is read, and that what cannot be read is said by file and line."""

import io

import pytest

from imapproxy.errors import ConfigError
from imapproxy.ini import Ini, suggestion


def read(text: str, general: str = "") -> Ini:
    ini = Ini(comments_behind_values=("#", ";"), general=general)
    ini.read_stream(named(io.StringIO(text)))
    return ini


def named(stream: io.StringIO) -> io.StringIO:
    stream.name = "a.conf"  # as files have one
    return stream


def test_sections_keys_and_values_are_text_as_it_stands() -> None:
    ini = read("[One]\nKey = 100%\nlist = [a, b]\n# comment\n[two]\nkey = x ; comment\n  y\n")
    assert {name: dict(ini.items(name)) for name in ini.sections()} == {
        "One": {"Key": "100%", "list": "[a, b]"},
        "two": {"key": "x\ny"},
    }


def test_a_comment_behind_a_value_is_part_of_it_unless_it_is_allowed() -> None:
    ini = Ini()
    ini.read_stream(named(io.StringIO("[one]\nkey = x ; y # z\n; comment\n")))
    assert dict(ini.items("one")) == {"key": "x ; y # z"}


def test_keys_before_the_first_section_are_those_of_the_general_one_and_nobody_inherits_them() -> None:
    ini = read("key = 1\n[one]\nother = 2\n", general=" ")
    assert {name: dict(ini.items(name)) for name in ini.sections()} == {" ": {"key": "1"}, "one": {"other": "2"}}


@pytest.mark.parametrize(
    ("text", "general", "want"),
    [
        ("[one]\nkey = 1\nkey = 2\n", "", "a.conf: line 3: [one] key: is given twice"),
        ("key = 1\nkey = 2\n", " ", "a.conf: line 2: key: is given twice"),
        ("[one]\n[two]\n[one]\n", "", "a.conf: line 3: [one] is given twice"),
        ("key = 1\n[one]\n[one]\n", " ", "a.conf: line 3: [one] is given twice"),
        ("key = 1\n", "", "a.conf: line 1: 'key = 1' stands before the first [section]"),
        ("[one]\nkey\n", "", "a.conf: line 2: 'key\\n' is neither 'key = value' nor a [section]"),
        ("\nkey\n", " ", "a.conf: line 2: 'key\\n' is neither 'key = value' nor a [section]"),
    ],
)
def test_what_cannot_be_read_is_said_by_file_and_line(text: str, general: str, want: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, general)
    assert str(caught.value).startswith(want)


def test_what_was_probably_meant_is_asked() -> None:
    right = {"server": "server in [one]", "user": "user in [two]"}
    assert suggestion("Sever", right) == "; is server in [one] meant?"
    assert suggestion("colour", right) == ""
