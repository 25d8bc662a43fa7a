"""imapproxy: an IMAP proxy through which a client also sends mail (draft-royer-lemonade-submit-00)."""

__version__ = "0.1.0"
