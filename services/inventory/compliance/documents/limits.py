"""What reading one document may cost."""

CPU_SECONDS = 120
WALL_SECONDS = 300
MEMORY_BYTES = 1 << 30
"""Of address space; where the system cannot bound it, time alone is bounded."""
