"""One module a target: ``check`` takes any octets, and fails where a rule does not hold of what becomes of them."""
