"""Pages of recommendations, each no larger than a client takes."""

from collections.abc import Sequence

from mesh.sql.paging import PageTokens
from secmesh.inventory.v1 import recommendation_pb2 as pb

DEFAULT_PAGE = 20
MAX_PAGE_BYTES = 3 * 1024 * 1024
"""Most that one page weighs; gRPC clients take 4 MiB by default."""


def recommendation_page(
    request: pb.ListRecommendationsRequest,
    found: Sequence[pb.Recommendation],
    tokens: PageTokens,
) -> pb.ListRecommendationsResponse:
    """Give the page asked for of all recommendations in their order. Raises PageTokenInvalid."""
    binding = ["recommendations", request.parent]
    start = int(tokens.read(binding, request.page_token)[0]) if request.page_token else 0
    page: list[pb.Recommendation] = []
    weight = 0
    for each in found[start : start + (request.page_size or DEFAULT_PAGE)]:
        fitting = _fitting(each)
        weight += fitting.ByteSize()
        if page and weight > MAX_PAGE_BYTES:
            break
        page.append(fitting)
    end = start + len(page)
    token = tokens.write(binding, [end]) if end < len(found) else ""
    return pb.ListRecommendationsResponse(recommendations=page, next_page_token=token)


def _fitting(found: pb.Recommendation) -> pb.Recommendation:
    """Leave out the last mendings of a recommendation that no page would hold."""
    while found.ByteSize() > MAX_PAGE_BYTES and found.mendings:
        del found.mendings[len(found.mendings) // 2 :]
        found.more = True
    return found
