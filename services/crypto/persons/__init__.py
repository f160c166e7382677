"""Persons: their fields and tiers, what is masked, who may read it and what for."""
