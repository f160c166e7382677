"""The OpenAPI 3.1 document, written from the contracts."""
