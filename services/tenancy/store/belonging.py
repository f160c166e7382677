"""Whose an item is: its partition says so, and what stands in it must not say otherwise."""

import logging
from typing import Final

from services.tenancy.store.keys import tenant_of_item
from services.tenancy.store.tables import PK, SK
from services.tenancy.store.values import Item

TENANT: Final = "tenant_id"
_LOG = logging.getLogger(__name__)


def own(item: Item) -> Item | None:
    """Give an item that was read; None if it names another tenant than its partition's.

    Whoever wrote such an item went past this service. It is as absent: what goes by its names
    would reach into the other tenant.
    """
    if TENANT not in item or item[TENANT] == tenant_of_item(item):
        return item
    _LOG.error("item %s %s names another tenant than its partition", item[PK], item[SK])
    return None


def all_own(items: list[Item]) -> list[Item]:
    """Give those of a page that are what their partitions say."""
    return [item for item in items if own(item) is not None]
