"""The thin shell: the sole home of sockets, TLS, threads, ``socketserver``, ``smtplib`` and ``imaplib``."""
