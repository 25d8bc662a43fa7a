"""What the clients were told, what arrived, and what they found: what is wrong with that. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

# Complaints of one kind that are shown; where there are more, their number is.
MOST_SHOWN = 5

# How a message arrives: as it should, with something else in it, or at somebody's to whom it is not addressed.
CONDITIONS = ("whole", "damaged", "misdirected")


@dataclass
class Book:
    """Each submission by its name: whether all of its tries together were to send it; and everything else."""

    was_sent: dict[str, bool] = field(default_factory=dict)
    arrived: Counter[str] = field(default_factory=Counter)
    flawed: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    found: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def note(self, event: str) -> None:
        """Take down a line of a crowd's: ``sent NAME``, ``refused NAME``, ``wrong WHAT``, or ``count WHAT NUMBER``."""
        kind, _, rest = event.partition(" ")
        match kind:
            case "sent" | "refused":
                self.was_sent[rest] = kind == "sent"
                self.figures[f"submissions {kind}"] += 1
            case "count":
                what, _, number = rest.rpartition(" ")
                self.figures[what] += int(number)
            case _:
                self.found.append(rest if kind == "wrong" else event)

    def note_arrival(self, event: str) -> None:
        """Take down a line of the host's: ``NAME CONDITION``, or what it says else."""
        name, _, condition = event.rpartition(" ")
        if condition not in CONDITIONS:
            self.found.append(event)
            return
        self.arrived[name] += 1
        if condition != "whole":
            self.flawed[condition].append(name)

    def awaits(self) -> int:
        """Return how many messages that were sent have not arrived by now."""
        return sum(1 for name, was_sent in self.was_sent.items() if was_sent and name not in self.arrived)

    def complaints(self) -> Iterator[str]:
        """Yield all that is not as it must be."""
        yield from _shown("lost", [name for name, sent in self.was_sent.items() if sent and not self.arrived[name]])
        yield from _shown("sent twice", [name for name, copies in self.arrived.items() if copies > 1])
        yield from _shown(
            "sent though refused", [n for n, sent in self.was_sent.items() if not sent and self.arrived[n]]
        )
        yield from _shown("nobody's", [name for name in self.arrived if name not in self.was_sent])
        for condition, names in self.flawed.items():
            yield from _shown(condition, names)
        yield from _shown("found", self.found)


def _shown(what: str, names: list[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
        yield f"{what}: {'; '.join(names[:MOST_SHOWN])}{more}"
