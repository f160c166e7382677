"""The tamper-evident audit: chains of entries, a Merkle tree over them, signed checkpoints."""
