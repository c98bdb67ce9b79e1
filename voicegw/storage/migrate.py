"""Bringing the tables up to date, with Alembic and the scripts in migrations/."""

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from voicegw.storage.engine import StorageError

_LOCK = 0x766F6963  # "voic": servers that start at once on one PostgreSQL take turns


def alembic_config(connection: Connection | None = None) -> AlembicConfig:
    """Alembic's configuration; there is no alembic.ini."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str:
    """What the tables of this version are called."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


async def migrate(engine: AsyncEngine) -> None:
    """Make or change the tables. Raises StorageError if the database is from a newer version."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


async def check(engine: AsyncEngine) -> None:
    """Raises StorageError unless the tables are those of this version."""
    async with engine.connect() as connection:
        current = await connection.run_sync(_current)
    if current != newest_revision():
        raise StorageError(
            f"the database has tables of revision {current or 'none'}, this version needs "
            f"{newest_revision()}: set storage.migrate, or run the release job that migrates"
        )


def _upgrade(connection: Connection) -> None:
    if _current(connection) == newest_revision():
        return
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise StorageError(f"the database was made by a newer version of voicegw: {error}") from error


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
