"""The edge: checks REST requests more strictly than Envoy can, and serves documents."""
