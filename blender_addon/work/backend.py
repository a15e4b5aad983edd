# SPDX-License-Identifier: GPL-3.0-or-later
"""The one backend that this Blender uses: started when first needed, connected to without waiting."""

from ..languages.words import iface
from ..link.client import Client
from ..link.process import BackendFailed, BackendProcess, connect_or_start


class Backend:
    """Process and connection.

    Call `pump` from a timer or a loop: it starts the process, waits for it without blocking, connects, and moves
    all jobs on. A connection that was lost is forgotten, so that the next job starts afresh.
    """

    def __init__(self, python: str | None = None) -> None:
        self.python = python
        """The interpreter that the preferences name; None to look for the installed one."""
        self._process: BackendProcess | None = None
        self._client: Client | None = None

    @property
    def status(self) -> str:
        """A few words for the panel."""
        if self.device is not None:
            return iface("Running on {device}", device=self.device)
        return iface("Starting") if self._process is not None else iface("Not running")

    @property
    def device(self) -> str | None:
        """What the backend computes on, None until it has said so."""
        said = self._client.capabilities if self._client is not None else None
        return None if said is None else str(said.get("device", "this computer"))

    @property
    def idle(self) -> bool:
        """True when no job is in flight."""
        return self._client is None or not self._client.jobs

    def pump(self, budget_s: float) -> Client | None:
        """The connection once it stands. Raises BackendMissing or BackendFailed with one sentence."""
        if self._client is not None and self._client.error is not None:
            self._forget()
        if self._client is None:
            self._connect()
        if self._client is not None:
            self._client.pump(budget_s)
        return self._client

    def keep_alive(self) -> None:
        """Pump a standing connection between jobs, without starting anything."""
        if self._client is not None:
            self._client.pump(0.0)
            if self._client.error is not None:
                self._forget()

    def close(self) -> None:
        """Let go of the connection and end the process if it is ours and nobody else needs it."""
        process = self._process
        if self._client is not None:
            self._client.close(stop=process is not None and process.child is not None)
        self._forget()
        if process is not None:
            process.stop()

    def _connect(self) -> None:
        if self._process is None:
            self._process = connect_or_start(self.python or None)
        try:
            endpoint = self._process.poll_ready()
        except BackendFailed:
            self._process = None
            raise
        if endpoint is not None:
            self._client = Client(endpoint, alive=self._process.alive)

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = self._process = None
