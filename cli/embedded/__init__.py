"""`secmesh up` from the inside; needs the extra `embedded`."""
