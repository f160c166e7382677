"""Who keeps the keys that all others hang from: a KMS, and apart from it the app key."""
