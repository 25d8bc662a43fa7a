"""Faults: a submission is broken at every step, and at random, one run a break, and what arrived is counted.

``python -m tests.faults`` (``make faults``) does all of it and prints a table. ``kinds`` is the list of what is broken
at each step, ``random_kinds`` of what is broken at random, by a ``random_plan`` that is drawn from a seed. ``runner``
does it, ``outcome`` says what came of it, ``judge`` how good that is. ``house`` is the real program between two
scripted servers; a random break comes when an octet passes on one of the wires (``wire``) between them.
"""
