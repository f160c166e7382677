"""Managed policies of the customer's, from one bulk read."""

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.iam_pb2 import IamPolicy
from services.inventory.collect.access_policy import permits_everything, policy_text
from services.inventory.collect.administrators import default_document
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.granted_actions import decrypts_with_all_keys, whole_services
from services.inventory.collect.iam_users import DETAILS, PAGE

LISTINGS = (DETAILS,)
OPERATIONS = frozenset(LISTINGS)
FIELDS = frozenset(IamPolicy.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the policies of the account."""
    policies = reader.items(
        DETAILS, "Policies", page_size=PAGE, listing=True, Filter=["LocalManagedPolicy"]
    )
    if isinstance(policies, Unread):
        return Collected([], policies)
    return Collected([policy_draft(policy) for policy in policies])


def policy_draft(policy: Response) -> Draft[IamPolicy]:
    """Map one policy of GetAccountAuthorizationDetails."""
    document = default_document(policy)
    body = IamPolicy(
        policy_name=str(policy["Arn"]).rpartition("/")[2],
        policy_id=policy.get("PolicyId"),
        path=policy["Path"],
        create_date=timestamp(policy["CreateDate"]),
        update_date=timestamp(policy["UpdateDate"]),
        default_version=policy["DefaultVersionId"],
        document=policy_text(document),
        attachment_count=policy.get("AttachmentCount", 0),
        permits_everything=permits_everything(document),
        whole_services=whole_services(document),
        decrypts_with_all_keys=decrypts_with_all_keys(document),
    )
    return Draft(native_id=policy["Arn"], arn=policy["Arn"], body=body)


COLLECTOR = Collector(
    "iam_policies",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
