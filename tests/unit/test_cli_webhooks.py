"""`secmesh compliance webhooks`: what each command asks for and shows."""

import json

from google.protobuf.empty_pb2 import Empty

from secmesh.inventory.v1 import webhook_service_pb2 as api
from secmesh.inventory.v1.webhook_pb2 import Webhook, WebhookDelivery
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]
NAME = "tenants/acme/webhooks/ops"


def test_a_webhook_is_made_and_its_secret_shown(operator: Operator) -> None:
    options = ("--url", "https://example.com/", "--filter", "severity > 2")
    done = operator.run("-o", "json", "compliance", "webhooks", "create", "ops", *options)
    answer = api.CreateWebhookResponse(webhook=Webhook(name=NAME), secret="whsec_x")
    request = operator.answer("WebhookService", "CreateWebhook", answer)
    assert json.loads(done.result(SECONDS).stdout)["secret"] == "whsec_x"
    assert (request.parent, request.webhook_id) == ("tenants/acme", "ops")
    assert request.webhook == Webhook(url="https://example.com/", filter="severity > 2")


def test_only_what_is_named_changes(operator: Operator) -> None:
    done = operator.run("compliance", "webhooks", "update", "ops", "--enable", "--filter", "")
    request = operator.answer("WebhookService", "UpdateWebhook", Webhook(name=NAME))
    assert done.result(SECONDS).exit_code == 0
    assert list(request.update_mask.paths) == ["filter", "disabled"]
    assert request.webhook.name == NAME
    assert operator.run("compliance", "webhooks", "update", "ops").result(SECONDS).exit_code == 2


def test_a_ping_that_is_not_taken_fails(operator: Operator) -> None:
    done = operator.run("compliance", "webhooks", "test", NAME)
    answer = api.TestWebhookResponse(response_code=500, problem="answered 500")
    assert operator.answer("WebhookService", "TestWebhook", answer).name == NAME
    result = done.result(SECONDS)
    assert result.exit_code == 1
    assert "the receiver answered 500" in result.stderr


def test_the_rest_names_the_webhook(operator: Operator) -> None:
    delivery = WebhookDelivery(name=f"{NAME}/deliveries/d", state=WebhookDelivery.STATE_DEAD)
    page = api.ListWebhookDeliveriesResponse(webhook_deliveries=[delivery])
    for words, method, answer in (
        (("get", "ops"), "GetWebhook", Webhook(name=NAME)),
        (("rm", "ops"), "DeleteWebhook", Empty()),
        (("rotate-secret", "ops"), "RotateWebhookSecret", api.RotateWebhookSecretResponse()),
        (("ls",), "ListWebhooks", api.ListWebhooksResponse(webhooks=[Webhook(name=NAME)])),
        (("deliveries", "ops"), "ListWebhookDeliveries", page),
    ):
        done = operator.run("-o", "ndjson", "compliance", "webhooks", *words)
        request = operator.answer("WebhookService", method, answer)
        assert done.result(SECONDS).exit_code == 0
        assert (getattr(request, "name", "") or request.parent) in (NAME, "tenants/acme")
