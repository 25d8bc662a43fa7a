"""Measurements of the proxy beside nginx, HAProxy, a direct connection and classic forwarding; see ``__main__``."""
