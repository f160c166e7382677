"""Who calls and what they may do: tokens, keys, roles and permissions."""
