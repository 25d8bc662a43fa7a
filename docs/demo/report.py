"""What the demo prints, for a person with 80 columns, and which of its claims did not hold."""

import textwrap

WIDTH = 79
MARGIN = "   "


class Report:
    """Steps, the lines of conversations, notes, and checked claims."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._steps = 0

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._steps += 1
        print(f"\n{self._steps}. {title}")

    def note(self, text: str) -> None:
        """Say something in plain words."""
        _print_wrapped(MARGIN, text)

    def conversation(self, speaker: str, line: bytes) -> None:
        """Show one line of a conversation: ``C`` is the client, ``S`` the server."""
        _print_wrapped(f"{MARGIN}{speaker}: ", _printable(line), hang=2)

    def mail(self, line: bytes) -> None:
        """Show one line of a message."""
        _print_wrapped(f"{MARGIN}| ", _printable(line), hang=2)

    def row(self, *cells: object) -> None:
        """Show a row of a table: a wide first column, then narrow ones for figures."""
        first, *others = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells]
        print(f"{MARGIN}{first:<37}" + "".join(f"{cell:>13}" for cell in others))

    def heading(self, text: str) -> None:
        """Say what the rows that follow are about."""
        print(f"\n{MARGIN}{text}")

    def check(self, claim: str, holds: bool) -> None:
        """Say that a claim holds, or that it does not, which makes the demo fail."""
        _print_wrapped(f"{MARGIN}{'[ok]' if holds else '[FAILED]'} ", claim)
        if not holds:
            self.failed.append(claim)


def _printable(line: bytes) -> str:
    return line.decode("ascii", "backslashreplace")


def _print_wrapped(prefix: str, text: str, hang: int = 0) -> None:
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=prefix, subsequent_indent=" " * (len(prefix) + hang), break_on_hyphens=False
    )
    print(*(lines or [prefix.rstrip()]), sep="\n", flush=True)
