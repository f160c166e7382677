"""What a bucket policy demands of a connection."""

from services.inventory.collect.access_policy import texts
from services.inventory.collect.denials import denials, only_without_tls

_ALL_ACTIONS = ("*", "s3:*")


def demands_tls(policy: str, bucket: str, partition: str = "aws") -> bool:
    """Tell whether a policy denies everyone every S3 action without TLS, on bucket and objects.

    The two resources may be denied by two statements. A statement with further
    conditions, a narrower principal or exceptions does not count. A text that is
    no policy demands nothing.
    """
    denied: set[str] = set()
    for statement in denials(policy):
        whole = any(text.lower() in _ALL_ACTIONS for text in texts(statement.get("Action")))
        if whole and only_without_tls(statement):
            denied.update(texts(statement.get("Resource")))
    if "*" in denied:
        return True
    arn = f"arn:{partition}:s3:::{bucket}"
    everything = {f"arn:{partition}:s3:::*", f"{arn}*"} & denied
    return bool(everything) or {arn, f"{arn}/*"} <= denied
