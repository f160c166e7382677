"""A sample AWS account and plan that `secmesh up` shows."""
