"""Lines of ours stand between responses, in order."""

from imapproxy.protocol.action import ToClient
from imapproxy.protocol.framing import ResponseFramer
from imapproxy.protocol.output import Output


def within_a_literal() -> ResponseFramer:
    responses = ResponseFramer()
    responses.feed(b"* 1 FETCH (X {3}\r\n", 18)
    return responses


def test_between_responses_a_line_is_said_at_once() -> None:
    output = Output(ResponseFramer())
    output.say(b"a BAD\r\n")
    assert output.take() == [ToClient(b"a BAD\r\n")]
    assert output.take() == []


def test_within_a_response_lines_wait_for_its_end() -> None:
    responses = within_a_literal()
    output = Output(responses)
    output.say(b"a BAD\r\n")
    assert output.take() == []
    responses.feed(b"abc)\r\n", 6)
    assert not output.at_boundary  # what was said before goes first
    output.say(b"b BAD\r\n")
    output.say_unsaid()
    assert output.take() == [ToClient(b"a BAD\r\nb BAD\r\n")]
    assert output.at_boundary
