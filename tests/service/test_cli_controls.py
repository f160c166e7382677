"""`secmesh compliance controls` against the real service."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from secmesh.inventory.v1.s3_pb2 import S3Bucket
from tests.service.controls_site import Site, control, estate, fixture, site
from tests.service.crypto_command import Command

__all__ = ["site"]

CONTROLS = ("compliance", "controls")


def command(site: Site) -> Command:
    return Command(site.server.address, site.server.keys, "acme")


def written(file: Path, **changes: Any) -> Path:
    made = json_format.MessageToDict(control(**changes), preserving_proto_field_name=True)
    file.write_text(yaml.safe_dump(made))
    return file


async def test_a_control_lives_in_a_file(site: Site, tmp_path: Path) -> None:
    await estate(site)
    run = command(site)
    file = written(tmp_path / "Kms_Only.yaml")
    tried = await run.json(*CONTROLS, "test", str(file))
    assert (tried["result"]["passed"], tried["result"]["failed"]) == ("1", "2")
    made = await run.json(*CONTROLS, "put", str(file))
    assert (made["name"], made["version"]) == ("tenants/acme/controls/kms-only", "1")
    again = await run.json(*CONTROLS, "put", str(file))
    assert again == made
    changed = written(tmp_path / "kms-only.yaml", description="Better.")
    assert (await run.json(*CONTROLS, "put", str(changed)))["version"] == "2"
    table = await run.run(*CONTROLS, "ls")
    for word in ("kms-only", "high", "s3_buckets"):
        assert word in table.stdout
    old = await run.json(*CONTROLS, "get", "kms-only", "--version", "1")
    assert old["control"]["description"] == made["description"]
    listed = await run.run("-o", "ndjson", *CONTROLS, "versions", "kms-only")
    assert [json.loads(line)["version"] for line in listed.stdout.splitlines()] == ["2", "1"]

    out = tmp_path / "ours.json"
    assert (await run.run(*CONTROLS, "export", "--out", str(out))).exit_code == 0
    await run.json(*CONTROLS, "rm", "kms-only")
    trial = await run.json(*CONTROLS, "import", str(out), "--dry-run")
    assert trial["created"] == ["tenants/acme/controls/kms-only"]
    assert (await run.json(*CONTROLS, "import", str(out)))["created"] == trial["created"]
    assert (await run.json(*CONTROLS, "get", "kms-only"))["description"] == "Better."


async def test_what_is_wrong_with_a_file_is_said(site: Site, tmp_path: Path) -> None:
    run = command(site)
    wrong = [fixture("EVIDENCE_OUTCOME_PASS", {"encryption": "NONE"})]
    file = written(tmp_path / "kms-only.yaml", fixtures=wrong)
    tried = await run.run(*CONTROLS, "test", str(file))
    assert tried.exit_code == 1
    assert "x: is fail and not pass" in tried.stderr
    refused = await run.run(*CONTROLS, "put", str(file))
    assert refused.exit_code != 0
    assert "control.fixtures[0].outcome" in refused.stderr
    deep = f"check: {'[' * 5000}"
    for text in ("- a\n- list", "check: {nonsense: 1}", "a: [", "\tx", deep):
        file.write_text(text)
        broken = await run.run(*CONTROLS, "put", str(file))
        assert broken.exit_code == 2
        assert "kms-only.yaml" in re.sub(r"[\s│]", "", broken.stderr)
    lost = await run.run(*CONTROLS, "test", "not-there.yaml")
    assert lost.exit_code == 2
    assert "nofilethatisthere" in re.sub(r"[\s│]", "", lost.stderr)
    file.write_text("<xml/>")
    foreign = await run.run(*CONTROLS, "import", str(file))
    assert "document: the document is XML" in foreign.stderr
    odd = written(tmp_path / "What is this.yaml")
    assert "--id" in (await run.run(*CONTROLS, "put", str(odd))).stderr


async def test_a_control_of_the_docs_agrees_with_what_is_collected(
    site: Site, tmp_path: Path
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "INVENTORY.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(# kms-only.yaml\n.*?)```", text, re.DOTALL)
    file = tmp_path / "kms-only.yaml"
    file.write_text(block)
    await site.world.sync(["s3_buckets"])
    # As the contract of the bucket names them.
    stored = ("aws:kms", "aws:kms:dsse", "AES256", "NONE")
    await site.world.add("s3_buckets", *(S3Bucket(encryption=each) for each in stored))
    run = command(site)
    for subject in (str(file), "kms-only", "controls/kms-only/versions/1"):
        tried = await run.json(*CONTROLS, "test", subject)
        assert (tried["result"]["passed"], tried["result"]["failed"]) == ("2", "2")
        await run.json(*CONTROLS, "put", str(file))
