"""Signals as octets on a descriptor."""

import os
import select
import signal

from imapproxy.net.signals import Signals, leave_to_parent
from tests.net.peers import PATIENCE


def come_to(signals: Signals) -> list[signal.Signals]:
    poll = select.poll()
    poll.register(signals.fd, select.POLLIN)
    assert poll.poll(PATIENCE * 1000)
    return signals.come()


def test_signals_come_in_order() -> None:
    with Signals([signal.SIGHUP, signal.SIGTERM]) as signals:
        assert signals.come() == []
        os.kill(os.getpid(), signal.SIGHUP)
        assert come_to(signals) == [signal.SIGHUP]
        os.kill(os.getpid(), signal.SIGTERM)
        assert come_to(signals) == [signal.SIGTERM]
        assert signals.come() == []


def test_afterwards_all_is_as_it_was() -> None:
    handler, descriptors = signal.getsignal(signal.SIGHUP), os.listdir("/proc/self/fd")
    with Signals([signal.SIGHUP]):
        assert signal.getsignal(signal.SIGHUP) != handler
    assert signal.getsignal(signal.SIGHUP) == handler
    assert os.listdir("/proc/self/fd") == descriptors


def test_a_child_leaves_them_to_its_parent() -> None:
    with Signals([signal.SIGHUP, signal.SIGINT, signal.SIGTERM]) as signals:
        if (pid := os.fork()) == 0:
            leave_to_parent()
            signals.close()
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        assert signals.come() == []
