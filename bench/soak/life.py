"""One client's life: a user of its own, one session after another, each of them ending in another way."""

import enum
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic

from bench.soak.link import Door, Link, Wrong
from bench.soak.texts import Referred, Text, arrival, plain_draft, referring_draft, stored

# What tries again does so after this many seconds, and not for ever.
RETRY_PAUSE = 0.5
MOST_RETRIES = 60
# Messages in a mailbox, before the eldest go.
MOST_STORED = 12
MOST_OCTETS = 150_000
# Seconds until the copies of all that was sent are filed.
FILING_TIME = 60.0

KNOWN = ("joe@example.com", "ann@example.com", "mooch@owatagu.siam.edu")
UNKNOWN = ("nobody@example.com", "grey@example.com")  # for good, for now

_APPENDUID = re.compile(rb"OK \[APPENDUID [0-9]+ ([0-9]+)\]")
_FETCHED = re.compile(rb"\A\* [0-9]+ FETCH .*BODY\[\] \{[0-9]+\}\r\n\Z")
_STATUS = re.compile(rb"\* STATUS \"?Sent\"? \(MESSAGES ([0-9]+)\)\r\n")


class Told(enum.Enum):
    """What a SUBMIT that may be taken is answered with: it is, it was before, or it may be later."""

    NOW, EARLIER, LATER = enum.auto(), enum.auto(), enum.auto()


_ANSWERS = {
    Told.NOW: re.compile(rb"OK SUBMIT completed"),
    # Without a remark: here, who files the copy of what was accepted is never killed before it is there.
    Told.EARLIER: re.compile(rb"OK SUBMIT completed \(accepted earlier, at [0-9-]{10} [0-9:]{8} UTC\)"),
    Told.LATER: re.compile(rb"NO 4[0-9.][^\r\n]*"),
}


def told_by(answer: bytes) -> Told:
    """Return what an answer, without its tag, tells; Wrong where there is no reason for it."""
    for told, form in _ANSWERS.items():
        if form.fullmatch(answer):
            return told
    raise Wrong(f"a submission is answered with {answer!r}")


class Life:
    """A client, until ``ended``; ``say`` takes what it has to tell, as `book` reads it."""

    def __init__(
        self, user: str, secret: str, doors: Sequence[Door], say: Callable[[str], None], ended: threading.Event
    ) -> None:
        self.figures: Counter[str] = Counter()
        self._user = user
        self._secret = secret
        self._doors = doors
        self._say = say
        self._ended = ended
        self._random = random.Random(user)
        self._stored: dict[int, Text] = {}
        self._sent: dict[str, str] = {}  # to whom, by name
        self._names = 0

    def live(self) -> None:
        """Have sessions; afterwards, see that there is a whole copy of each message that was sent."""
        while not self._ended.is_set():
            self._have(self._session)
            self._rest(0.5)
        self._have(self._check_copies)
        self.figures["clients that lived to the end"] += 1

    def _have(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (Wrong, OSError, ValueError) as failure:
            self._say(f"wrong {self._user}: {type(failure).__name__} {failure}")
            self._stored.clear()  # whatever was under way is not known to have happened

    def _session(self) -> None:
        self.figures["sessions"] += 1
        with Link(self._random.choice(self._doors)) as link:
            if self._random.random() < 0.05:
                return
            if not link.line().startswith(b"* OK"):
                raise Wrong("no greeting")
            if self._random.random() < 0.05:
                return
            self._enter(link)
            acts = (self._noop, self._fetch, self._append, self._idle, self._submit, self._submit_to_nobody)
            for act in self._random.choices(acts, (4, 6, 4, 2, 3, 1), k=self._random.randint(1, 10)):
                self.figures["commands"] += 1
                act(link)
                self._rest(0.4)
            self._leave(link)
        if self._random.random() < 0.3:
            self._submit_and_vanish()

    def _rest(self, most: float) -> None:
        self._ended.wait(self._random.uniform(0, most))

    def _log_in(self) -> Link:
        link = Link(self._random.choice(self._doors))
        link.line()
        self._enter(link)
        return link

    def _enter(self, link: Link) -> None:
        link.expect_ok(f"LOGIN {self._user} {self._secret}")
        if self._random.random() < 0.25:
            link.compress()
        link.expect_ok("SELECT INBOX")

    def _leave(self, link: Link) -> None:
        match self._random.randrange(6):
            case 0 | 1 | 2:
                link.expect_ok("LOGOUT")
            case 3:
                link.send(b"x NO")
            case 4:
                link.send(b"x APPEND INBOX {1000+}\r\nFrom: x")
                link.reset()
            case 5:
                link.reset()

    # What a session does -----------------------------------------------------------------------------------------

    def _noop(self, link: Link) -> None:
        link.expect_ok("NOOP")

    def _text(self) -> Text:
        return Text(self._random.randrange(1 << 40), min(MOST_OCTETS, int(self._random.expovariate(1 / 8000)) + 1))

    def _append(self, link: Link) -> None:
        text = self._text()
        octets = stored(text)
        answer = link.expect_ok("APPEND INBOX", octets, waits=self._random.random() < 0.5)
        uid = _APPENDUID.match(answer[-1])
        if uid is None:
            raise Wrong(f"APPEND is answered with {answer[-1]!r}")
        self._stored[int(uid[1])] = text
        self.figures["octets appended"] += len(octets)
        if len(self._stored) > MOST_STORED:
            self._expunge(link, next(iter(self._stored)))

    def _expunge(self, link: Link, uid: int) -> None:
        link.expect_ok(rf"UID STORE {uid} +FLAGS.SILENT (\Deleted)")
        link.expect_ok(f"UID EXPUNGE {uid}")
        del self._stored[uid]

    def _fetch(self, link: Link) -> None:
        if not self._stored:
            return
        uid, text = self._random.choice([*self._stored.items()])
        answer = link.expect_ok(f"UID FETCH {uid} BODY.PEEK[]")
        octets = stored(text)
        if octets not in answer:
            raise Wrong(f"message {uid} is not the {len(octets)} octets that were stored")
        self.figures["octets fetched"] += len(octets)

    def _idle(self, link: Link) -> None:
        tag = link.begin("IDLE")
        link.await_continuation(tag)
        self._rest(2)
        link.send(b"DONE\r\n")
        answer = link.answer(tag)[-1]
        if not answer.startswith(b"OK"):
            raise Wrong(f"IDLE is answered with {answer!r}")

    # Submissions -------------------------------------------------------------------------------------------------

    def _draft(self, recipients: str) -> tuple[str, bytes]:
        """Return a new draft and its name; half of those who have stored something refer to it."""
        self._names += 1
        name = f"{self._user}-{self._names}"
        if not self._stored or self._random.random() < 0.5:
            return name, plain_draft(name, self._user, recipients, self._text())
        self.figures["drafts with a reference"] += 1
        uid, referred = self._random.choice([*self._stored.items()])
        return name, referring_draft(name, self._user, recipients, self._text(), Referred(uid, referred))

    def _submit(self, link: Link) -> None:
        recipient = self._random.choice(KNOWN)
        name, draft = self._draft(recipient)
        if not self._is_taken(link.command("SUBMIT", draft, waits=self._random.random() < 0.5)[-1]):
            self._submit_until_taken(draft)
        self._note_sent(name, recipient)

    def _submit_to_nobody(self, link: Link) -> None:
        stranger = self._random.choice(UNKNOWN)
        name, draft = self._draft(f"{KNOWN[0]}, {stranger}")
        answer = link.command("SUBMIT", draft, waits=False)[-1]
        if not answer.startswith(b"NO ") or not answer.endswith(b"," + stranger.encode("ascii")):
            raise Wrong(f"{name} to {stranger} is answered with {answer!r}")
        self._say(f"refused {name}")

    def _submit_and_vanish(self) -> None:
        """Vanish within the literal, at its end, or before the answer; then try again until there is one."""
        self.figures["vanished"] += 1
        recipient = self._random.choice(KNOWN)
        name, draft = self._draft(recipient)
        command = b"S SUBMIT {%d+}\r\n%b\r\n" % (len(draft), draft)
        end = self._random.choice((len(command), len(command), len(command) - 2, self._random.randrange(len(command))))
        with self._log_in() as link:
            link.send(command[:end])
            self._rest(0.05)
            if self._random.random() < 0.5:
                link.reset()
        self._submit_until_taken(draft)
        self._note_sent(name, recipient)

    def _submit_until_taken(self, draft: bytes) -> None:
        for _ in range(MOST_RETRIES):
            self.figures["tries again"] += 1
            with self._log_in() as link:
                if self._is_taken(link.command("SUBMIT", draft, waits=False)[-1]):
                    return
            self._rest(RETRY_PAUSE)
        raise Wrong("a submission is never taken")

    def _is_taken(self, answer: bytes) -> bool:
        told = told_by(answer)
        if told is Told.EARLIER:
            self.figures["told of an earlier acceptance"] += 1
        return told is not Told.LATER

    def _note_sent(self, name: str, recipient: str) -> None:
        self._sent[name] = recipient
        self._say(f"sent {name}")

    def _check_copies(self) -> None:
        """See that Sent has one whole copy of each message; of one sent when nobody listened, it comes later."""
        deadline = monotonic() + FILING_TIME
        with self._log_in() as link:
            while (copies := _count_in_sent(link)) != len(self._sent):
                if monotonic() > deadline:
                    raise Wrong(f"{copies} copies in Sent of {len(self._sent)} messages")
                threading.Event().wait(0.5)
            if self._sent:
                self._compare_copies(link)
            self.figures["copies in Sent"] += copies

    def _compare_copies(self, link: Link) -> None:
        link.expect_ok("EXAMINE Sent")
        answer = link.expect_ok("FETCH 1:* BODY.PEEK[]")
        copies = [arrival(answer[at + 1]) for at, line in enumerate(answer) if _FETCHED.search(line)]
        if damaged := [copy.name for copy in copies if not copy.is_whole]:
            raise Wrong(f"damaged in Sent: {damaged[0]}")
        if sorted((copy.name, copy.to) for copy in copies) != sorted(self._sent.items()):
            raise Wrong(f"Sent has other messages than the {len(self._sent)} that were sent")


def _count_in_sent(link: Link) -> int:
    answer = link.command("STATUS Sent (MESSAGES)")
    found = _STATUS.match(answer[0])
    return int(found[1]) if found else 0
