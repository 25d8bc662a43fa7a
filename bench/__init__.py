"""Measurements of the proxy beside nginx's mail proxy, HAProxy and a direct connection; see ``__main__``."""
