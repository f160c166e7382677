"""Messages to rows and back, against protobuf's own JSON mapping and its wire format.

Run with ``python benchmarks/record_codec.py``. One record with 12 fields of its body
and envelope set; the best of several rounds counts. The wire format, in C, is the
physical limit: what it costs to touch every value once. Exits with 1 if the codec is not well
ahead of the JSON mapping; the goal in microseconds depends on the machine and is only shown.
"""

import sys
import timeit
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.contract.catalogue import load_catalogue
from mesh.sql.codec import Codec
from secmesh.inventory.v1 import iam_pb2, record_pb2

ROUNDS, CALLS = 7, 20_000
GOAL_MICROSECONDS = 5.0
LEAST_GAIN = 1.5
"""Times that the codec must be faster than protobuf's JSON mapping."""


def sample() -> record_pb2.Record:
    """Give a record of an IAM user with 12 fields set, as a sync would write it."""
    seen = Timestamp(seconds=1_795_262_400, nanos=250_000_000)
    return record_pb2.Record(
        name="tenants/acme/iam_users/3f9a2c4477d1",
        etag="d41d8cd98f00b204",
        cloud_account_id="123456789012",
        region="global",
        arn="arn:aws:iam::123456789012:user/ana",
        valid_from=seen,
        iam_user=iam_pb2.IamUser(
            username="ana",
            user_id="AIDACKCEVSQ6C2EXAMPLE",
            path="/",
            mfa_enabled=True,
            last_login=seen,
            groups=["developers", "auditors"],
        ),
    )


def microseconds(call: Callable[[], Any]) -> float:
    """Time one call, in microseconds."""
    call()
    return min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def main() -> int:
    """Print each way, its time and its ratio to the codec's."""
    kept = True
    record = sample()
    codec = Codec(load_catalogue("secmesh.inventory.v1").kinds["iam_users"])
    row, dictionary, wire = codec.row(record), MessageToDict(record), record.SerializeToString()
    assert codec.message(row) == record
    decode, values = codec.decoder(codec.columns), tuple(row[name] for name in codec.columns)
    ways: dict[str, list[tuple[str, Callable[[], Any]]]] = {
        "message to row": [
            ("codec", lambda: codec.row(record)),
            ("MessageToDict", lambda: MessageToDict(record)),
            ("SerializeToString", record.SerializeToString),
        ],
        "row to message": [
            ("codec", lambda: decode(values)),
            ("ParseDict", lambda: ParseDict(dictionary, record_pb2.Record())),
            ("FromString", lambda: record_pb2.Record.FromString(wire)),
        ],
    }
    for direction, peers in ways.items():
        print(f"{direction} (goal {GOAL_MICROSECONDS:.0f} us, {len(codec.columns)} columns)")
        times = {label: microseconds(call) for label, call in peers}
        ratios = {label: taken / times["codec"] for label, taken in times.items()}
        for label, taken in times.items():
            print(f"  {label:<18}{taken:8.2f} us   {ratios[label]:6.2f} x codec")
        mapping = ratios.get("MessageToDict") or ratios["ParseDict"]
        kept = kept and mapping >= LEAST_GAIN
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
