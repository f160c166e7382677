"""How values are sealed: pure functions over keys and bytes, without I/O."""
