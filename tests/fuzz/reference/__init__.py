"""Slow, simple readers to compare the package's with: written from the RFCs, octet by octet, with nothing of its own.

None imports the package, and none uses its expressions: what two readers agree on by sharing code proves nothing.
"""
