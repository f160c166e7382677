"""Password rules and root user facts of one account."""

from mesh.aws.reader import Answer, Reader, Response
from secmesh.inventory.v1.iam_pb2 import IamPasswordPolicy
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft

POLICY = "iam:GetAccountPasswordPolicy"
SUMMARY = "iam:GetAccountSummary"
ALIASES = "iam:ListAccountAliases"
OPERATIONS = frozenset((POLICY, SUMMARY, ALIASES))
# Without a policy IAM asks for eight characters of three of the four classes, so
# no class is required by itself; passwords do not expire and are not remembered.
# Source: AWS IAM User Guide, "Default password policy".
DEFAULT_MINIMUM_LENGTH = 8

POLICY_FIELDS = (
    "configured",
    "minimum_length",
    "require_uppercase",
    "require_lowercase",
    "require_numbers",
    "require_symbols",
    "max_age_days",
    "reuse_prevention",
    "hard_expiry",
    "allow_users_to_change",
)
SUMMARY_FIELDS = ("root_mfa_enabled", "root_access_keys_present")
ALIAS_FIELDS = ("account_alias",)
FIELDS = frozenset((*POLICY_FIELDS, *SUMMARY_FIELDS, *ALIAS_FIELDS))


def collect(reader: Reader) -> Collected:
    """Read the one row of the account."""
    return Collected(
        [
            account_draft(
                reader.account.cloud_account_id,
                reader.call(POLICY),
                reader.call(SUMMARY),
                reader.call(ALIASES),
            )
        ]
    )


def account_draft(
    cloud_account_id: str, policy: Answer, summary: Answer, aliases: Answer
) -> Draft[IamPasswordPolicy]:
    """Map the three answers."""
    draft = Draft(native_id=cloud_account_id, body=IamPasswordPolicy())
    draft.take(policy, POLICY_FIELDS, _fill_policy)
    draft.take(summary, SUMMARY_FIELDS, _fill_summary)
    draft.take(aliases, ALIAS_FIELDS, _fill_alias)
    return draft


def _fill_policy(body: IamPasswordPolicy, response: Response | None) -> None:
    policy = (response or {}).get("PasswordPolicy", {})
    body.configured = response is not None
    body.minimum_length = policy.get("MinimumPasswordLength", DEFAULT_MINIMUM_LENGTH)
    body.require_uppercase = policy.get("RequireUppercaseCharacters", False)
    body.require_lowercase = policy.get("RequireLowercaseCharacters", False)
    body.require_numbers = policy.get("RequireNumbers", False)
    body.require_symbols = policy.get("RequireSymbols", False)
    body.hard_expiry = bool(policy.get("HardExpiry", False))
    body.allow_users_to_change = policy.get("AllowUsersToChangePassword", False)
    if days := policy.get("MaxPasswordAge"):
        body.max_age_days = days
    if remembered := policy.get("PasswordReusePrevention"):
        body.reuse_prevention = remembered


def _fill_summary(body: IamPasswordPolicy, response: Response | None) -> None:
    summary = (response or {}).get("SummaryMap", {})
    body.root_mfa_enabled = bool(summary.get("AccountMFAEnabled"))
    body.root_access_keys_present = bool(summary.get("AccountAccessKeysPresent"))


def _fill_alias(body: IamPasswordPolicy, response: Response | None) -> None:
    if aliases := (response or {}).get("AccountAliases"):
        body.account_alias = aliases[0]


COLLECTOR = Collector(
    "iam_password_policy",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
)
