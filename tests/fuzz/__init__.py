"""Fuzzing of what reads hostile octets: ``python -m tests.fuzz --help``."""
