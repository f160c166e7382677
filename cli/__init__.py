"""The `secmesh` command."""
