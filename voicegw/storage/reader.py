"""Reading calls: for the command line and the web pages, while a server runs and while none does.

Every read opens what it needs and sees what is committed; nothing is cached.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import selectinload

from voicegw.errors import VoicegwError
from voicegw.storage.engine import StorageError, open_engine
from voicegw.storage.models import Call

LAST = "last"  # stands for the newest call wherever an id is asked for


class UnknownCall(VoicegwError):
    """No call has this id, or more than one begins with it."""

    exit_code = 2


class CallReader:
    """Reads one database. Raises StorageError when it cannot be read."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine: AsyncEngine | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a database at all; without one there were no calls."""
        if self._url.get_backend_name() != "sqlite":
            return True
        return bool(self._url.database) and Path(str(self._url.database)).exists()

    async def recent(
        self, limit: int, *, state: str | None = None, since: datetime | None = None, turns: bool = False
    ) -> Sequence[Call]:
        """Calls, newest first; their turns only if asked for."""
        if not self.exists:
            return []
        query = select(Call).order_by(Call.started_at.desc(), Call.id.desc()).limit(limit)
        if state is not None:
            query = query.where(Call.state == state)
        if turns:
            query = query.options(selectinload(Call.turns))
        if since is not None:
            query = query.where(Call.started_at >= since)
        return await self._calls(query)

    async def find(self, wanted: str) -> Call:
        """One call with its turns, by its id, the beginning of its id, or "last". Raises UnknownCall."""
        if not self.exists:
            raise UnknownCall(f"no call {wanted!r}: there were no calls yet")
        query = select(Call).options(selectinload(Call.turns))
        if wanted == LAST:
            found = await self._calls(query.order_by(Call.started_at.desc(), Call.id.desc()).limit(1))
            if not found:
                raise UnknownCall("there were no calls yet")
            return found[0]
        exact = await self._calls(query.where(Call.id == wanted))
        if exact:
            return exact[0]
        found = await self._calls(query.where(func.substr(Call.id, 1, len(wanted)) == wanted).limit(3))
        if not found or not wanted:
            raise UnknownCall(f"no call {wanted!r}; see `voicegw calls list`")
        if len(found) > 1:
            ids = ", ".join(call.id for call in found[:2])
            raise UnknownCall(f"{wanted!r} begins the ids of several calls: {ids}, ...")
        return found[0]

    async def of_carrier(self, carrier: str, carrier_id: str, since: datetime) -> Call | None:
        """The newest call since then that its carrier calls so."""
        if not self.exists:
            return None
        query = select(Call).where(Call.started_at >= since, Call.carrier_id == carrier_id)
        query = query.where(Call.carrier == carrier).order_by(Call.started_at.desc()).limit(1)
        return next(iter(await self._calls(query)), None)

    async def close(self) -> None:
        """Idempotent."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def _calls(self, query: Any) -> Sequence[Call]:
        if self._engine is None:
            self._engine = open_engine(self._url, read_only=True)
        try:
            async with self._engine.connect() as connection:
                return await _read(connection, query)
        except (DBAPIError, OSError) as error:
            place = self._url.render_as_string(hide_password=True)
            raise StorageError(f"cannot read the calls in {place}: {_reason(error)}") from error


async def _read(connection: AsyncConnection, query: Any) -> Sequence[Call]:
    async with AsyncSession(connection, expire_on_commit=False) as session:
        return (await session.scalars(query)).all()


def _reason(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error)
