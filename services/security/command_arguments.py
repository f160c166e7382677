"""Arguments that commands of the service share."""

import argparse

from mesh.contract.names import tenant_of


def tenant_argument(text: str) -> str:
    """Take the id of a tenant."""
    if tenant_of(f"tenants/{text}") != text:
        raise argparse.ArgumentTypeError("this is the name of no tenant")
    return text
