"""The mail side as pure values: a draft in, a message out. No I/O, clock, log or configuration.

draft -> fields -> envelope -> headers ---------------> message
             |     (address, tokens)                       | what the SMTP server offers
             +---> reference (mime, imap_url)              v
                     | what the IMAP server has       rendering
                     v                                     ^
                   inclusion ----------------> compose (encoding, segments, words)
"""
