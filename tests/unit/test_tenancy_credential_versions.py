"""How versions follow one another, whatever is done in which order."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import FieldInvalid
from secmesh.tenancy.v1 import credential_pb2 as pb
from secmesh.tenancy.v1.credential_service_pb2 import StoreCredentialRequest
from services.tenancy.credentials.secret_text import SecretText, secret_of
from services.tenancy.credentials.session_policy import DATA, policy_arns_of, policy_of
from services.tenancy.credentials.versions import (
    CURRENT,
    MAX_LISTED,
    MAX_USABLE,
    PREVIOUS,
    USABLE,
    add,
    find,
    in_state,
    promote,
    refuse,
    roll_back,
    take_back,
)


def stored() -> pb.Credential:
    credential = pb.Credential()
    promote(credential, add(credential, "id-1", "k", "ann", 0).version, 0, watch=False)
    return credential


@given(st.lists(st.sampled_from(["rotate", "refuse", "back", "take_back"]), max_size=60))
def test_there_is_always_one_current_version_and_room_for_more(steps: list[str]) -> None:
    credential = stored()
    for now, step in enumerate(steps):
        match step:
            case "rotate":
                number = add(credential, f"id-{now + 2}", "k", "ann", now).version
                promote(credential, number, now, watch=True)
            case "refuse":
                number = add(credential, f"id-{now + 2}", "k", "ann", now).version
                refuse(credential, number, "why", now)
            case "back":
                previous = in_state(credential, PREVIOUS)
                if previous is not None:
                    roll_back(credential, previous.version, now)
            case _:
                take_back(credential, "why", now)
        usable = [each for each in credential.versions if each.state in USABLE]
        current = [each.version for each in credential.versions if each.state == CURRENT]
        assert current == [credential.current_version]
        assert len(usable) <= MAX_USABLE
        assert len(credential.versions) <= MAX_LISTED
        assert sum(1 for each in usable if each.state == PREVIOUS) <= 1
        numbers = [each.version for each in credential.versions]
        assert numbers == sorted(set(numbers), reverse=True)
        assert max(numbers) <= credential.last_version


def test_a_version_that_was_taken_back_is_used_no_more() -> None:
    credential = stored()
    promote(credential, add(credential, "id-2", "k", "ann", 0).version, 0, watch=True)
    assert take_back(credential, "dead", 1)
    taken = find(credential, 2)
    assert taken is not None
    assert (taken.state in USABLE, taken.reason) == (False, "dead")
    assert not credential.HasField("watch_end_time")
    assert not take_back(credential, "dead", 2)


def test_a_secret_is_written_and_read_alike() -> None:
    secret = SecretText(
        "aws_access_key", {"access_key_id": "A", "secret_access_key": "é"}, {"a": "b"}
    )
    assert SecretText.read(secret.text()) == secret
    assert json.loads(secret.text())["credential_type"] == "aws_access_key"
    assert "é" not in repr(secret)
    assert secret.key_id == "A"


@pytest.mark.parametrize("text", ["", "null", "[]", '"hunter2"', '{"credential_type": "x"}'])
def test_what_is_no_credential_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^the secret is no credential$"):
        SecretText.read(text)


def test_a_key_file_of_google_is_kept_by_its_parts() -> None:
    request = StoreCredentialRequest()
    parts = {"client_email": "a@b", "private_key": "p", "number": 1}
    request.gcp_service_account.key_json = json.dumps(parts)
    secret = secret_of(request, {})
    assert secret.credentials == {"client_email": "a@b", "private_key": "p"}
    request.gcp_service_account.key_json = "hunter2"
    with pytest.raises(FieldInvalid) as refused:
        secret_of(request, {})
    assert "hunter2" not in str(refused.value)


def test_a_session_policy_fits_whatever_is_asked() -> None:
    services = {each.partition(":")[0] for each in DATA}
    actions = [f"{service}:Get*" for service in sorted(services)]
    policy = policy_of(actions)
    assert len(policy) < 2048
    allowed, refused = json.loads(policy)["Statement"]
    assert allowed["Action"] == actions
    assert refused["Effect"] == "Deny"
    assert set(refused["Action"]) == set(DATA)
    assert policy_arns_of(actions, "aws") == []
    assert policy_of([]) == ""
    assert policy_arns_of([], "aws-us-gov")[0].startswith("arn:aws-us-gov:")
