"""What a caller is told when a KMS does not serve."""

import contextlib
from collections.abc import Iterator

from mesh.errors import DependencyUnavailable
from services.crypto.custody.kms import PASSING, KmsError
from services.crypto.errors import KeyDisabled

KMS = "kms"
_RETRY_SECONDS = 5


@contextlib.contextmanager
def kms_refusals() -> Iterator[None]:
    """Turn failures of the KMS into refusals: KeyDisabled, or DependencyUnavailable for a while."""
    try:
        yield
    except PASSING as error:
        raise DependencyUnavailable(KMS, retry_after_seconds=_RETRY_SECONDS) from error
    except KmsError as error:
        raise KeyDisabled(KMS) from error
