"""How the inventory service comes into accounts."""
