"""Soak: hundreds of clients for a long time, every octet and every delivery checked, and what is left afterwards.

``python -m bench.soak SECONDS`` runs the real program between real Dovecot and Postfix: scripted servers would do what
the author of the proxy thinks of, and have no queue of their own, no process for each session and no reply that takes
its time. What Postfix delivers goes to a sink that looks at it and keeps nothing.

    __main__    the run: servers, proxy, crowds, reloads, rests; the figures
    host        Dovecot and Postfix, in a process of their own
    crowd       a hundred clients, in a process of their own     (three of them: Python runs one thread at a time)
    life        one client: what it does, and how it leaves
    link        its connection: TLS, compression, commands and answers
    texts       what is stored and sent: made from numbers, so that anybody can tell what it should be        (pure)
    book        what was told, what arrived, what was found: what is wrong with that                          (pure)
    verdict     what is wrong besides: clients that died or did nothing, leaks, lines in the log                 (pure)
    watch       processes: memory, threads, descriptors
"""
