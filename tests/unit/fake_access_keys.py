"""IAM's access keys of users, on the truthful STS: two at most, and answers that get lost."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.tenancy.credentials.access_keys import (
    AccessKeysForbidden,
    AccessKeysRefused,
    AccessKeysUnavailable,
    KeyFacts,
    TooManyAccessKeys,
)
from services.tenancy.credentials.sts import AwsKeys, KeysRefused
from tests.unit.fake_sts import FakeSecurityTokens

MOST = 2


@dataclass
class FakeAccessKeys:
    """See ``AccessKeys``; it is asked about the users of an STS."""

    tokens: FakeSecurityTokens
    forbidden: bool = False
    broken: bool = False
    """What it makes does not work."""
    unanswered: float = 0.0
    unsent: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    created: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def live(self, arn: str) -> list[str]:
        return [each for each in self.tokens.users() if self.tokens.arn_of(each) == arn]

    async def create(self, keys: AwsKeys, user: str) -> AwsKeys:
        arn = self._begin(keys, user)
        if len(self.live(arn)) >= MOST:
            raise TooManyAccessKeys("LimitExceeded")
        made = self.tokens.add_user(arn)
        self.created[made.access_key_id] = self.tokens.now()
        self._end()
        if self.broken:
            return AwsKeys(made.access_key_id, "not what IAM said")
        return made

    async def listed(self, keys: AwsKeys, user: str) -> Sequence[KeyFacts]:
        arn = self._begin(keys, user)
        self._end()
        return [KeyFacts(each, self.created.get(each, 0)) for each in self.live(arn)]

    async def delete(self, keys: AwsKeys, user: str, key_id: str) -> None:
        arn = self._begin(keys, user)
        if key_id in self.live(arn):
            self.tokens.disable(key_id)
            self.deleted.append(key_id)
        self._end()

    async def close(self) -> None:
        pass

    def _begin(self, keys: AwsKeys, user: str) -> str:
        if self.chance.random() < self.unsent:
            raise AccessKeysUnavailable("unsent")
        try:
            arn = self.tokens.who(keys)
        except KeysRefused:
            raise AccessKeysRefused("InvalidClientTokenId") from None
        if self.forbidden or arn.rpartition("/")[2] != user:
            raise AccessKeysForbidden("AccessDenied")
        return arn

    def _end(self) -> None:
        if self.chance.random() < self.unanswered:
            raise AccessKeysUnavailable("unanswered")
