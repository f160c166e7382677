"""The parts of a process that runs workflows, put together."""

from collections.abc import Callable
from datetime import timedelta

from mesh.contract.catalogue import Catalogue
from mesh.records.writing import Guard
from mesh.sql.store import Store
from services.security.editing import RecordEditor
from services.security.findings.life import FindingLife
from services.security.incidents.life import IncidentLife
from services.security.workflows.actions import Tools
from services.security.workflows.calling import Caller
from services.security.workflows.egress import Egress
from services.security.workflows.executor import Executor
from services.security.workflows.operations import Records
from services.security.workflows.run_store import RunStore
from services.security.workflows.starting import Starter
from services.security.workflows.trigger_store import Triggers
from services.security.workflows.webhooks import Webhooks

LEASE = timedelta(seconds=30)


class Workflows:
    """Starts runs for callers, and carries on those of all tenants once it is started."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        guard: Guard,
        lives: tuple[FindingLife, IncidentLife],
        editor: RecordEditor,
        *,
        lease: timedelta = LEASE,
        hosts: frozenset[str] = frozenset(),
    ) -> None:
        """``hosts`` may be called by steps wherever they are, as ``name:port``."""
        runs = RunStore(store, editor.clock, lease)
        self.starter = Starter(store, runs, editor)
        records = Records.of(store, catalogue, guard, lives, editor)
        self.tools = Tools(records, runs, self.starter, Caller(records, Egress(hosts), editor))
        self.webhooks = Webhooks(self.tools, editor)
        self.executor = Executor(self.tools, editor)
        self.triggers = Triggers(self.tools, editor)

    @property
    def poke(self) -> Callable[[], None]:
        """Tells this process that there may be work."""
        return self.starter.poke

    def start(self) -> None:
        """Begin to execute runs and to look at triggers."""
        self.executor.start()
        self.triggers.start()

    async def close(self) -> None:
        """Stop; other processes go on with what this one leaves."""
        await self.triggers.close()
        await self.executor.close()
