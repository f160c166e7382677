"""The gRPC server that every service runs: interceptors, health, logs, drain."""
