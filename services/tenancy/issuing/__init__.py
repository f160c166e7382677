"""The issuer of the mesh: its signing keys, service credentials, and tokens for them."""
