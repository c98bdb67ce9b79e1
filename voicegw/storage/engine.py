"""Connections. SQLite by default, set up so that a reader never waits for the writer; PostgreSQL by URL."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from voicegw.errors import VoicegwError


class StorageError(VoicegwError):
    """The database cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class Config:
    """The database of calls and turns."""

    url: str = ""
    """SQLAlchemy URL, such as postgresql+asyncpg://user:password@host/name (needs asyncpg). Empty: the file
    voicegw.db in data_dir, which needs nothing."""
    migrate: bool = True
    """Bring the tables up to date at the start. false where a release job does that."""
    backlog: int = 10_000
    """Changes held in memory while the database does not answer; what comes then is lost and counted. A call
    makes about 30."""
    busy_timeout_ms: int = 5_000
    """How long SQLite waits for another program's lock before the write is tried again later."""
    flush_s: float = 10.0
    """At the stop, how long to wait until everything is written."""

    def __post_init__(self) -> None:
        if self.backlog < 1:
            raise ValueError(f"backlog must be 1 or more, but is {self.backlog}")
        if self.url:
            try:
                make_url(self.url).get_dialect()
            except ArgumentError as error:
                raise ValueError(f"is no database URL: {error}") from error
            except ImportError as error:
                raise ValueError(f"its driver cannot be loaded: {error}") from error


def database_url(config: Config, data_dir: Path) -> URL:
    """Where the calls are."""
    if config.url:
        return make_url(config.url)
    return URL.create("sqlite+aiosqlite", database=str((data_dir / "voicegw.db").absolute()))


def open_engine(url: URL, *, busy_timeout_ms: int = 5_000, read_only: bool = False) -> AsyncEngine:
    """An engine that does not connect before it is used."""
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True, pool_size=2)
    if read_only:
        # WAL can be read while a server writes, and this opens no file for writing but its index.
        file = Path(url.database or "")
        query = {"mode": "ro", "uri": "true"}
        if not os.access(file.parent, os.W_OK) and not file.with_name(file.name + "-wal").exists():
            query["immutable"] = "1"  # nobody writes, and we may not make the index
        url = url.set(database=f"file:{_quote(str(file))}", query=query)
    engine = create_async_engine(url, connect_args={"timeout": busy_timeout_ms / 1000})

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Any, _: object) -> None:
        # The driver would begin transactions late, and none around changes of tables; see `_begin`.
        connection.isolation_level = None
        cursor = connection.cursor()
        if not read_only:
            # Survives a crash of the program; a power cut may take the last second, never the file.
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # Whoever will write takes the lock at once: one that reads first cannot wait for it later.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _quote(path: str) -> str:
    """A path inside an SQLite URI (https://sqlite.org/uri.html, section 3.1)."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
