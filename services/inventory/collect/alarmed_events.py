"""Which classes of events make an alarm that somebody hears, from the trail to the subscriber."""

from mesh.aws.reader import Unread
from secmesh.inventory.v1.cloudtrail_pb2 import CloudtrailTrail
from secmesh.inventory.v1.cloudwatch_pb2 import CloudwatchMonitoring
from services.inventory.collect.cloudtrail_trails import DESCRIBE
from services.inventory.collect.derive import TRAILS
from services.inventory.collect.draft import Draft, Truth, all_of, any_of
from services.inventory.collect.filter_pattern import Event, Predicate, matcher
from services.inventory.collect.source import Source, Sources
from services.inventory.collect.watched_events import CLASSES

FIELDS = ("alarmed_events", "unalarmed_events")
ALL = "All"


def fill_alarmed_events(drafts: list[Draft[CloudwatchMonitoring]], sources: Sources) -> None:
    """Tell of each region which classes of events somebody hears of."""
    for draft in drafts:
        if "watches" not in draft.unread:
            del draft.body.alarmed_events[:], draft.body.unalarmed_events[:]
            for name in FIELDS:
                draft.unread.pop(name, None)
            _fill(draft, sources[TRAILS])


def _fill(draft: Draft[CloudwatchMonitoring], trails: Source) -> None:
    heard = [
        (matcher(watch.pattern), _is_fed(watch.log_group, draft.region, trails))
        for watch in draft.body.watches
        if watch.notifies
    ]
    answers = {
        name: all_of(_is_heard(event, heard) for event in events)
        for name, events in CLASSES.items()
    }
    gap = next((each for each in answers.values() if isinstance(each, Unread)), None)
    if gap is not None:
        draft.miss(gap, *FIELDS)
        return
    draft.body.alarmed_events.extend(name for name, truth in answers.items() if truth)
    draft.body.unalarmed_events.extend(name for name, truth in answers.items() if not truth)


def _is_heard(event: Event, heard: list[tuple[Predicate, Truth]]) -> Truth:
    return any_of(fed for picks, fed in heard if picks(event))


def _is_fed(log_group: str, region: str, trails: Source) -> Truth:
    """Tell whether a trail writes the management events of all regions to a log group."""
    found = any_of(_feeds(trail) for trail in trails.drafts if _writes(trail, log_group, region))
    if found is not False:
        return found
    # A trail writes to a log group of its own region only.
    return trails.gap(region, DESCRIBE) or False


def _writes(trail: Draft[CloudtrailTrail], log_group: str, region: str) -> bool:
    target = trail.body.cloudwatch_log_group.split(":")
    return target[3:4] == [region] and target[6:7] == [log_group]


def _feeds(trail: Draft[CloudtrailTrail]) -> Truth:
    recorded: Truth = trail.unread.get("management_events") or trail.body.management_events == ALL
    return all_of((trail.body.is_multi_region, recorded, trail.truth("is_logging")))
