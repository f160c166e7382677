"""What the adapter of DynamoDB sends, and what it makes of answers that emulators never give."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from botocore.stub import Stubber

from services.tenancy.store.conditions import All, AtMost, Equals, Exists, In, Missing
from services.tenancy.store.conditions import Any as AnyOf
from services.tenancy.store.dynamodb import DynamoDbStore
from services.tenancy.store.dynamodb_client import dynamodb_client
from services.tenancy.store.expressions import Bindings, condition_expression, update_expression
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import (
    Add,
    Change,
    ConditionFailed,
    Conflict,
    ItemTooLarge,
    Put,
    Remove,
    RequestInvalid,
    Set,
    SetIfMissing,
    StoreUnavailable,
    Throttled,
    TokenReused,
    Update,
)
from services.tenancy.store.recorder import Access, Recorder, StoreCall
from services.tenancy.store.tables import DEFAULT_NAMES, Table

SCOPE = TenantScope("acme")
KEY = SCOPE.account("a1")
PUT = Put(KEY, {"n": 1}, Missing())
WIRE_KEY = {"pk": {"S": "acme"}, "sk": {"S": "A#a1"}}


class World:
    def __init__(self, client: Any) -> None:
        self.recorder = Recorder()
        self.stub = Stubber(client)
        self.store = DynamoDbStore(client, DEFAULT_NAMES, threads=2, observe=self.recorder.observe)

    def fails(self, method: str, code: str, message: str = "", **members: Any) -> None:
        self.stub.add_client_error(method, code, message, modeled_fields=members)


@pytest.fixture(scope="module")
def client() -> Any:
    return dynamodb_client("eu-west-1", "http://127.0.0.1:9", credentials=("test", "test"))


@pytest.fixture
async def world(client: Any) -> AsyncIterator[World]:
    made = World(client)
    with made.stub:
        yield made
    await made.store.close()


ERRORS = [
    ("TransactionConflictException", "", Conflict),
    ("TransactionInProgressException", "", Conflict),
    ("ProvisionedThroughputExceededException", "", Throttled),
    ("ThrottlingException", "", Throttled),
    ("RequestLimitExceeded", "", Throttled),
    ("InternalServerError", "", StoreUnavailable),
    ("ServiceUnavailable", "", StoreUnavailable),
    ("AccessDeniedException", "", StoreUnavailable),
    ("ExpiredTokenException", "", StoreUnavailable),
    ("ResourceNotFoundException", "", StoreUnavailable),
    ("ValidationException", "Item size has exceeded the maximum allowed size", ItemTooLarge),
    ("ValidationException", "An operand in the update expression is wrong", RequestInvalid),
]


@pytest.mark.parametrize(("code", "message", "error"), ERRORS)
async def test_errors_of_a_write(
    world: World, code: str, message: str, error: type[Exception]
) -> None:
    world.fails("put_item", code, message)
    with pytest.raises(error):
        await world.store.write(PUT)
    assert world.recorder.calls[-1].error == error.__name__


REASONS: list[tuple[list[dict[str, Any]], type[Exception]]] = [
    ([{"Code": "None"}, {"Code": "TransactionConflict"}], Conflict),
    ([{"Code": "ThrottlingError"}, {"Code": "None"}], Throttled),
    ([{"Code": "ProvisionedThroughputExceeded"}, {"Code": "None"}], Throttled),
    ([{"Code": "None"}, {"Code": "ValidationError", "Message": "x"}], RequestInvalid),
    ([{"Code": "ValidationError", "Message": "Item size to update has exceeded"}], ItemTooLarge),
    ([{"Code": "TransactionConflict"}, {"Code": "ConditionalCheckFailed"}], ConditionFailed),
    ([{"Code": "None"}], StoreUnavailable),
]


@pytest.mark.parametrize(("reasons", "error"), REASONS)
async def test_reasons_of_a_cancelled_transaction(
    world: World, reasons: list[dict[str, Any]], error: type[Exception]
) -> None:
    world.fails("transact_write_items", "TransactionCanceledException", CancellationReasons=reasons)
    with pytest.raises(error):
        await world.store.write(PUT, Put(SCOPE.quota(), {}))


async def test_the_item_as_it_stands_comes_with_the_first_failed_condition(world: World) -> None:
    reasons = [
        {"Code": "None"},
        {"Code": "ConditionalCheckFailed", "Item": {**WIRE_KEY, "n": {"N": "2"}}},
        {"Code": "ConditionalCheckFailed"},
    ]
    world.fails("transact_write_items", "TransactionCanceledException", CancellationReasons=reasons)
    with pytest.raises(ConditionFailed) as failed:
        await world.store.write(PUT, Put(SCOPE.quota(), {}), Put(SCOPE.tenant_key(), {}))
    expected = {"pk": "acme", "sk": "A#a1", "n": 2}
    assert (failed.value.position, failed.value.item) == (1, expected)


async def test_a_token_of_another_transaction(world: World) -> None:
    world.fails("transact_write_items", "IdempotentParameterMismatchException")
    with pytest.raises(TokenReused):
        await world.store.write(PUT, token="t")


async def test_nobody_listens_there(world: World) -> None:
    world.stub.deactivate()
    with pytest.raises(StoreUnavailable):
        await world.store.get(KEY)
    assert world.recorder.calls[-1].error == "StoreUnavailable"


async def test_a_closed_store_answers_nothing(world: World) -> None:
    await world.store.close()
    with pytest.raises(StoreUnavailable):
        await world.store.get(KEY)


async def test_what_a_batch_left_out_is_asked_for_again(world: World) -> None:
    table = Table.ACCOUNTS.default_name
    other = {"pk": {"S": "acme"}, "sk": {"S": "A#a2"}}
    left = {table: {"Keys": [other], "ConsistentRead": True}}
    capacity = [{"TableName": table, "CapacityUnits": 1.5}]
    for items, unprocessed in (([WIRE_KEY], left), ([], left), ([other], {})):
        answer = {
            "Responses": {table: items},
            "UnprocessedKeys": unprocessed,
            "ConsumedCapacity": capacity,
        }
        world.stub.add_response("batch_get_item", answer)
    found = await world.store.get_many([KEY, SCOPE.account("a2")])
    assert [item and item["sk"] for item in found] == ["A#a1", "A#a2"]
    access = Access("BatchGetItem", Table.ACCOUNTS, "acme")
    assert world.recorder.calls == [StoreCall("BatchGetItem", (access, access), 1.5)] * 3


async def test_a_batch_that_is_never_whole(world: World) -> None:
    table = Table.ACCOUNTS.default_name
    left = {table: {"Keys": [WIRE_KEY]}}
    for _ in range(5):
        world.stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
    with pytest.raises(Throttled):
        await world.store.get_many([KEY])


async def test_what_is_sent(world: World) -> None:
    expected = {
        "TableName": "threat-engine-accounts",
        "Key": WIRE_KEY,
        "UpdateExpression": "SET #n0 = :v0",
        "ConditionExpression": "(attribute_exists(#n1) AND #n2 = :v1)",
        "ExpressionAttributeNames": {"#n0": "status", "#n1": "pk", "#n2": "version"},
        "ExpressionAttributeValues": {":v0": {"S": "x"}, ":v1": {"N": "3"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        "ReturnConsumedCapacity": "TOTAL",
    }
    answer = {"ConsumedCapacity": {"CapacityUnits": 3.0}}
    world.stub.add_response("update_item", answer, expected)
    await world.store.write(Update(KEY, [Set("status", "x")], Equals("version", 3)))
    access = Access("UpdateItem", Table.ACCOUNTS, "acme")
    assert world.recorder.calls == [StoreCall("UpdateItem", (access,), 0.0, 3.0)]


def test_a_condition_within_one_has_no_parentheses_twice() -> None:
    """DynamoDB calls them redundant, and refuses the whole expression."""
    nested = All(Missing("a"), All(AnyOf(Missing("b"), All(Exists("c")))))
    expression = condition_expression(nested, Bindings())
    assert expression == (
        "(attribute_not_exists(#n0) AND (attribute_not_exists(#n1) OR attribute_exists(#n2)))"
    )


def test_conditions_as_expressions() -> None:
    condition = All(
        AnyOf(Missing("a"), AtMost("a", 5)),
        In("b", ("x", "y")),
        Exists("a"),
        Equals("c", True),
    )
    bindings = Bindings()
    assert condition_expression(condition, bindings) == (
        "((attribute_not_exists(#n0) OR #n0 <= :v0) AND #n1 IN (:v1, :v2)"
        " AND attribute_exists(#n0) AND #n2 = :v3)"
    )
    assert bindings.arguments() == {
        "ExpressionAttributeNames": {"#n0": "a", "#n1": "b", "#n2": "c"},
        "ExpressionAttributeValues": {
            ":v0": {"N": "5"},
            ":v1": {"S": "x"},
            ":v2": {"S": "y"},
            ":v3": {"BOOL": True},
        },
    }


def test_no_parentheses_around_parentheses() -> None:
    inner = AnyOf(Exists("a"), Exists("b"))
    expected = "(attribute_exists(#n0) OR attribute_exists(#n1))"
    for condition in (inner, All(inner), AnyOf(All(inner))):
        assert condition_expression(condition, Bindings()) == expected
    assert condition_expression(All(All(Exists("a"))), Bindings()) == "attribute_exists(#n0)"


def test_changes_as_an_expression() -> None:
    changes: list[Change] = [
        Set("a", 1),
        Remove("b"),
        SetIfMissing("c", 2),
        Add("d", -1),
        Remove("e"),
    ]
    assert update_expression(changes, Bindings()) == (
        "SET #n0 = :v0, #n2 = if_not_exists(#n2, :v1) REMOVE #n1, #n4 ADD #n3 :v2"
    )


async def test_calls_of_a_task_are_told_apart(world: World) -> None:
    for _ in range(2):
        world.stub.add_response("get_item", {})
    await world.store.get(KEY)
    with world.recorder.of_this_task() as calls:
        await world.store.get(KEY)
    assert [call.operation for call in calls] == ["GetItem"]
    assert len(world.recorder.calls) == 2
