"""Jobs of Amazon Macie: which buckets are looked through, and when."""

from collections.abc import Iterator
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.macie_pb2 import MacieJob
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

LIST = "macie2:ListClassificationJobs"
JOB = "macie2:DescribeClassificationJob"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, JOB))
PAGE = 200
DETAIL_FIELDS = ("schedule", "sampling_percentage", "identifiers", "last_run", "tags")
FIELDS = frozenset(MacieJob.DESCRIPTOR.fields_by_name)
_SCHEDULES = {
    "dailySchedule": "DAILY",
    "weeklySchedule": "WEEKLY",
    "monthlySchedule": "MONTHLY",
}
_ERROR = "ERROR"


def collect(reader: Reader) -> Collected:
    """Read the jobs of one region; where Macie is off there are none."""
    jobs = reader.items(LIST, "items", page_size=PAGE, listing=True)
    if isinstance(jobs, Unread):
        return Collected([], jobs)
    read = reader.fan_out(lambda job: _read(reader, job), jobs)
    return Collected([draft for draft in read if draft is not None])


def _read(reader: Reader, job: Response) -> Draft[MacieJob] | None:
    job_id = str(job["jobId"])
    answer = reader.call(JOB, resource=job_id, jobId=job_id)
    # Cancelled and gone since it was listed.
    return None if isinstance(answer, Absent) else job_draft(job, answer, _arn(reader, job_id))


def _arn(reader: Reader, job_id: str) -> str:
    account = reader.account
    place = f"{reader.region}:{account.cloud_account_id}"
    return f"arn:{account.partition}:macie2:{place}:classification-job/{job_id}"


def job_draft(job: Any, answer: Answer, arn: str) -> Draft[MacieJob]:
    """Map one job: its place in the list, and its details."""
    body = MacieJob(
        job_id=job["jobId"],
        job_name=job.get("name", ""),
        job_type=job["jobType"],
        status=job["jobStatus"],
        buckets=sorted(_buckets(job)),
        by_criteria="bucketCriteria" in job,
        last_run_failed=job.get("lastRunErrorStatus", {}).get("code") == _ERROR,
    )
    if created := job.get("createdAt"):
        body.creation_date.CopyFrom(timestamp(created))
    draft = Draft(native_id=body.job_id, arn=arn, body=body)
    draft.take(answer, DETAIL_FIELDS, _fill_details)
    return draft


def _buckets(job: Any) -> Iterator[str]:
    for definition in job.get("bucketDefinitions", ()):
        yield from definition.get("buckets", ())


def _fill_details(body: MacieJob, response: Response | None) -> None:
    job: Any = response or {}
    for key, name in _SCHEDULES.items():
        if key in job.get("scheduleFrequency", {}):
            body.schedule = name
    body.sampling_percentage = job.get("samplingPercentage", 100)
    # Without a choice of identifiers all are used.
    body.identifiers = job.get("managedDataIdentifierSelector", "ALL")
    if ran := job.get("lastRunTime"):
        body.last_run.CopyFrom(timestamp(ran))
    body.tags.update(job.get("tags") or {})


COLLECTOR = Collector(
    "macie_jobs",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
