"""Faults, systematically: a submission is broken at every step, one run a step, and what arrived is counted.

``python -m tests.faults`` (``make faults``) does all of it and prints a table. ``kinds`` is the list of what is broken,
``runner`` does it, ``judge`` says what came of it, ``house`` is the real program between two scripted servers.
"""
