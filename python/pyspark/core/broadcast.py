"""Re-exports :mod:`pyrite.broadcast`."""

from pyrite.broadcast import Broadcast, BroadcastPickleRegistry, _broadcastRegistry, _from_id

__all__ = ["Broadcast", "BroadcastPickleRegistry", "_broadcastRegistry", "_from_id"]
