"""The crypto service: people's data kept in tiers, rotated, audited and erased."""
