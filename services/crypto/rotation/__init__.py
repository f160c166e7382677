"""Rotations of keys: planned, run in turns under live traffic, paused, rolled back."""
