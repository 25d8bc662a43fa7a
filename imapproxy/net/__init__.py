"""The thin shell: the sole home of sockets, threads, selectors, ``socketserver`` and ``smtplib``."""
