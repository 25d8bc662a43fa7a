"""Checks that are done to their end."""

from time import monotonic

from imapproxy.net.checker import Check, Checker
from imapproxy.net.children import EndingChildren
from imapproxy.net.loop import Loop
from tests.net.peers import PATIENCE


def outcome(check: Check) -> str:
    """Have a check done; return what is wrong. No child may be left."""
    loop, ending, told = Loop(), EndingChildren(), list[str]()
    checker = Checker(loop, ending, lambda: None)
    checker.run(check, told.append)
    deadline = monotonic() + PATIENCE
    while not told or not ending.reap():
        assert monotonic() < deadline
        loop.later(0.01, lambda: None)
        loop.turn()
        checker.reap()
    (problem,) = told
    return problem
