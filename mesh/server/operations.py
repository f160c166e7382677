"""What operators see of one process: the admin port, channelz, and how its event loop does."""

import grpc

from mesh.server.admin import AdminServer
from mesh.server.channelz import start_channelz
from mesh.server.settings import ServerSettings
from mesh.telemetry.loop import LoopMonitor


class ListenError(Exception):
    """The process cannot listen on an address; the message names it."""

    def __init__(self, address: str) -> None:
        super().__init__(f"cannot listen on {address}: the address is in use or not ours")


class Operations:
    """The ports for operators, as the settings ask for them."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._monitor = LoopMonitor()
        self._admin: AdminServer | None = None
        self._channelz: grpc.aio.Server | None = None
        self.addresses: dict[str, str] = {}
        """``host:port`` by purpose, ``admin`` and ``channelz``, of those that are on."""
        self._ready = False

    async def start(self) -> None:
        """Open what the settings ask for. Raises ListenError."""
        self._monitor.start()
        if self._settings.admin:
            self._start_admin(self._settings.admin)
        if self._settings.channelz:
            await self._start_channelz(self._settings.channelz)

    def show_ready(self, ready: bool) -> None:
        """Let ``/readyz`` say so from now on."""
        self._ready = ready

    async def stop(self) -> None:
        """Close what is open."""
        await self._monitor.stop()
        if self._admin is not None:
            self._admin.stop()
        if self._channelz is not None:
            await self._channelz.stop(None)

    def _start_admin(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._admin = AdminServer(
                host, int(port), alive=lambda: self._monitor.is_alive, ready=lambda: self._ready
            )
        except OSError as error:
            raise ListenError(address) from error
        self._admin.start()
        self.addresses["admin"] = self._admin.address

    async def _start_channelz(self, address: str) -> None:
        try:
            self._channelz, port = await start_channelz(address)
        except RuntimeError as error:
            raise ListenError(address) from error
        self.addresses["channelz"] = f"{address.rpartition(':')[0]}:{port}"
