"""The program ``imap-submit``: what calls it as it would call sendmail sends through the proxy by SUBMIT."""
