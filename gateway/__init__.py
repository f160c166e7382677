"""The gateway: Envoy's configuration from the contracts, the edge beside it, and OpenAPI."""
