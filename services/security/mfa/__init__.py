"""Second factors: one-time passwords, backup codes, and the pause after wrong ones."""
