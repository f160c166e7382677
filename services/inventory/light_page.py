"""Pages of rows that may be heavy, within what clients take."""

from mesh.sql.paging import Page
from mesh.sql.store import Store

MAX_PAGE_BYTES = 3 * 1024 * 1024
"""Most that one page weighs; gRPC clients take 4 MiB by default."""


async def light_page(
    store: Store,
    collection: str,
    parent: str,
    *,
    filter: str,  # noqa: A002  # AIP-132's own name
    order_by: str,
    page_size: int,
    page_token: str,
) -> Page:
    """Give a page as the store does, of fewer rows if they are heavy (AIP-158)."""
    size = page_size
    while True:
        page = await store.page(
            collection,
            parent,
            filter=filter,
            order_by=order_by,
            page_size=size,
            page_token=page_token,
        )
        total = sum(row.ByteSize() for row in page.items)
        if total <= MAX_PAGE_BYTES or len(page.items) == 1:
            return page
        size = max(1, len(page.items) * MAX_PAGE_BYTES // total // 2)
