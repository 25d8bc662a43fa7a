import pytest

from imapproxy.message.tokens import TokenError, read_tokens, without_comments


def test_each_token_knows_its_place_and_what_it_says() -> None:
    text = 'Fréd "a \\"b" (c (d\\) e)) <x@[1]>'
    assert [(token.kind, token.content) for token in read_tokens(text)] == [
        ("atom", "Fréd"),
        ("quoted", 'a "b'),
        ("comment", "c (d) e)"),
        ("special", "<"),
        ("atom", "x"),
        ("special", "@"),
        ("literal", "1"),
        ("special", ">"),
    ]
    assert all(text[token.start : token.end] == token.text for token in read_tokens(text))


@pytest.mark.parametrize("text", ['"a', "(a (b)", "[a", "a\\b", "a)", "a\0", "a\x7f", "a\rb", '"a\nb"'])
def test_what_is_no_sequence_of_tokens(text: str) -> None:
    with pytest.raises(TokenError):
        read_tokens(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a", "a"),
        ("a (b (c) \\) d) e", "a   e"),
        ('"a (b)" (c)', '"a (b)"  '),
        ("a (b", "a  "),
        ('a "b (c)', 'a "b (c)'),
        ('a "b\\', 'a "b\\'),
        ("", ""),
    ],
)
def test_comments_make_room(text: str, want: str) -> None:
    assert without_comments(text) == want


@pytest.mark.parametrize(
    "text", ["(" * 300_000, '"\\' * 150_000, '"' + '\\"' * 150_000, "()" * 150_000, '"a" (' * 50_000]
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    assert len(without_comments(text)) <= len(text)
    try:
        read_tokens(text)
    except TokenError:
        return
    assert text.startswith("()")
