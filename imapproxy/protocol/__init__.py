"""The IMAP side as pure values: octets in, events and actions out. No I/O, clock, log or configuration."""
