"""Why ``imap-submit`` ends without having sent: what it says, and the exit status by which its caller goes on."""


class Failure(Exception):
    """The program's end: the text is one printable line or several.

    ``status`` is one of ``os.EX_…`` (sysexits.h), or the shell's for an interruption.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
