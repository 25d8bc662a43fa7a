"""The mail side as pure values: a draft in, a message out. No I/O, clock, log or configuration.

draft -> fields -> envelope -> headers ----------> message
                   (address, tokens)                  | what the SMTP server offers
                   reference (mime)                   v
                                   encoding (mime, words, compose) -> rendering
"""
