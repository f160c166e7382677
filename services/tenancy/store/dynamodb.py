"""DynamoDB as the store, through boto3 in threads of its own."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from services.tenancy.store.belonging import all_own, own
from services.tenancy.store.conditions import All, Condition, Exists
from services.tenancy.store.dynamodb_client import DEFAULT_CONNECTIONS
from services.tenancy.store.dynamodb_errors import store_error
from services.tenancy.store.expressions import (
    Bindings,
    condition_expression,
    key_expression,
    update_expression,
)
from services.tenancy.store.keys import key_of
from services.tenancy.store.port import (
    Action,
    Between,
    Item,
    ItemTooLarge,
    Key,
    Page,
    Put,
    Query,
    StoreUnavailable,
    Throttled,
    Update,
    check_actions,
    check_keys,
)
from services.tenancy.store.recorder import (
    TRANSACT,
    Access,
    Observer,
    StoreCall,
    iam_action,
    key_access,
    query_access,
    write_accesses,
)
from services.tenancy.store.tables import PK, SK, Table
from services.tenancy.store.values import MAX_ITEM_BYTES, size_of
from services.tenancy.store.wire import item_from_wire, item_to_wire

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH_ROUNDS: Final = 5
"""How often what a batch left out is asked for again."""
_OPERATIONS = {
    "PutItem": "put_item",
    "UpdateItem": "update_item",
    "DeleteItem": "delete_item",
}
_TRANSACTED = {
    "PutItem": "Put",
    "UpdateItem": "Update",
    "DeleteItem": "Delete",
    "ConditionCheckItem": "ConditionCheck",
}


class DynamoDbStore:
    """See ``Store``."""

    def __init__(
        self,
        client: "DynamoDBClient",
        names: Mapping[Table, str],
        *,
        threads: int = DEFAULT_CONNECTIONS,
        observe: Observer | None = None,
    ) -> None:
        """Take a client of ``dynamodb_client`` and the names of all tables."""
        self._client = client
        self._names = dict(names)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dynamodb")
        self._observe = observe

    async def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        """Give an item."""
        answer = await self._call(
            "GetItem",
            (key_access("GetItem", key),),
            self._client.get_item,
            TableName=self._names[key.table],
            Key=_wire_key(key),
            ConsistentRead=consistent,
        )
        item = answer.get("Item")
        return own(item_from_wire(item)) if item else None

    async def get_many(self, keys: Sequence[Key], *, consistent: bool = True) -> list[Item | None]:
        """Give items in the order of their keys."""
        check_keys(keys)
        tables = {self._names[key.table]: key.table for key in keys}
        left = self._requested(keys, consistent=consistent)
        found: dict[Key, Item] = {}
        for _ in range(_BATCH_ROUNDS):
            if not left:
                return [found.get(key) for key in keys]
            answer = await self._batch(keys, left)
            for name, items in answer["Responses"].items():
                for wire in items:
                    item = item_from_wire(wire)
                    if own(item) is not None:
                        found[key_of(tables[name], item)] = item
            left = answer.get("UnprocessedKeys", {})
        if left:
            raise Throttled("UnprocessedKeys")
        return [found.get(key) for key in keys]

    async def query(self, query: Query) -> Page:
        """Give a page of a partition."""
        if isinstance(query.sk, Between) and query.sk.high < query.sk.low:
            # DynamoDB refuses what is empty by itself.
            return Page([], None)
        bindings = Bindings()
        arguments: dict[str, Any] = {
            "TableName": self._names[query.table],
            "KeyConditionExpression": key_expression(query, bindings),
            "ScanIndexForward": query.forward,
            "Limit": query.limit,
            **bindings.arguments(),
        }
        if query.index:
            arguments["IndexName"] = query.index
        else:
            arguments["ConsistentRead"] = query.consistent
        if query.start is not None:
            arguments["ExclusiveStartKey"] = item_to_wire(dict(query.start))
        answer = await self._call("Query", (query_access(query),), self._client.query, **arguments)
        last = answer.get("LastEvaluatedKey")
        following = {name: str(value["S"]) for name, value in last.items()} if last else None
        return Page(all_own([item_from_wire(each) for each in answer["Items"]]), following)

    async def write(self, *actions: Action, token: str = "") -> None:
        """Do all actions or none."""
        check_actions(actions, token)
        for action in actions:
            if isinstance(action, Put) and size_of(action.attributes) > MAX_ITEM_BYTES:
                raise ItemTooLarge(action.key.table.value)
        if len(actions) > 1 or token:
            await self._transact(actions, token)
            return
        (action,) = actions
        name = iam_action(action)
        operation = getattr(self._client, _OPERATIONS[name])
        await self._call(name, write_accesses(actions), operation, **self._arguments(action))

    async def close(self) -> None:
        """Let go of connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _transact(self, actions: tuple[Action, ...], token: str) -> None:
        items = [{_TRANSACTED[iam_action(each)]: self._arguments(each)} for each in actions]
        arguments: dict[str, Any] = {"TransactItems": items}
        if token:
            arguments["ClientRequestToken"] = token
        await self._call(
            TRANSACT, write_accesses(actions), self._client.transact_write_items, **arguments
        )

    def _arguments(self, action: Action) -> dict[str, Any]:
        """Give the arguments of an action, which are the same alone and in a transaction."""
        bindings = Bindings()
        arguments: dict[str, Any] = {
            "TableName": self._names[action.key.table],
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        key = _wire_key(action.key)
        if isinstance(action, Put):
            arguments["Item"] = {**item_to_wire(action.attributes), **key}
        else:
            arguments["Key"] = key
        if isinstance(action, Update):
            arguments["UpdateExpression"] = update_expression(action.changes, bindings)
        condition = _condition(action)
        if condition is not None:
            arguments["ConditionExpression"] = condition_expression(condition, bindings)
        return arguments | bindings.arguments()

    def _requested(self, keys: Sequence[Key], *, consistent: bool) -> dict[str, Any]:
        requested: dict[str, Any] = {}
        for key in keys:
            of_table = requested.setdefault(
                self._names[key.table], {"Keys": [], "ConsistentRead": consistent}
            )
            of_table["Keys"].append(_wire_key(key))
        return requested

    async def _batch(self, keys: Sequence[Key], requested: Mapping[str, Any]) -> Any:
        accesses = tuple(key_access("BatchGetItem", key) for key in keys)
        return await self._call(
            "BatchGetItem", accesses, self._client.batch_get_item, RequestItems=requested
        )

    async def _call(
        self, operation: str, accesses: tuple[Access, ...], call: Any, **arguments: Any
    ) -> Any:
        if self._observe is not None:
            arguments["ReturnConsumedCapacity"] = "TOTAL"
        loop = asyncio.get_running_loop()
        try:
            pending = loop.run_in_executor(self._threads, partial(call, **arguments))
        except RuntimeError as error:
            # The pool takes nothing more once it is closed.
            raise StoreUnavailable("closed") from error
        try:
            answer = await pending
        except (BotoCoreError, ClientError) as error:
            refused = store_error(error, operation)
            self._tell(StoreCall(operation, accesses, error=type(refused).__name__))
            raise refused from None
        if self._observe is not None:
            units = _consumed(answer)
            reads = {"GetItem", "BatchGetItem", "Query"}
            read, written = (units, 0.0) if operation in reads else (0.0, units)
            self._tell(StoreCall(operation, accesses, read, written))
        return answer

    def _tell(self, call: StoreCall) -> None:
        if self._observe is not None:
            self._observe(call)


def _condition(action: Action) -> Condition | None:
    """Give the whole condition of an action: an update alone would make what is not there."""
    if not isinstance(action, Update) or action.upsert:
        return action.condition
    return Exists() if action.condition is None else All(Exists(), action.condition)


def _wire_key(key: Key) -> dict[str, Any]:
    return {PK: {"S": key.pk}, SK: {"S": key.sk}}


def _consumed(answer: Mapping[str, Any]) -> float:
    told = answer.get("ConsumedCapacity") or ()
    listed = [told] if isinstance(told, Mapping) else told
    return float(sum(each.get("CapacityUnits", 0.0) for each in listed))
