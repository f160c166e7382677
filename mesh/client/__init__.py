"""Channels from one service to another: secmesh_client's, with what a served call hands on."""

from mesh.client.aio import open_channel
from secmesh_client import CallRefused, refusal_of

__all__ = ["CallRefused", "open_channel", "refusal_of"]
