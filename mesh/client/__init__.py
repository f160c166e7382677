"""Channels to other services: typed stubs over them retry, propagate and raise typed errors."""

from mesh.client.aio import open_channel
from mesh.client.refusal import CallRefused, refusal_of
from mesh.client.sync import open_sync_channel

__all__ = ["CallRefused", "open_channel", "open_sync_channel", "refusal_of"]
