"""Which hosts cannot be reached from another machine: one rule for services and their clients."""

from secmesh_client.loopback import is_loopback

__all__ = ["is_loopback"]
