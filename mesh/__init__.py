"""What every secmesh service shares."""
