"""Downloads of models from a hub (Hugging Face, or a mirror that speaks its two paths), resumed.

GET {hub}/api/models/{repository}/tree/main/{folder}?recursive=true    sizes, SHA-256 sums of large files
GET {hub}/{repository}/resolve/main/{file}                             with Range
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp

from voicegw.models.catalog import Entry, ModelError
from voicegw.models.store import PART, ModelFile, ModelStore, sha256

HUB = "https://huggingface.co"
SKIPPED = (".gitattributes", "README.md")
TRIES = 4  # of one file, each going on where the last one stopped
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of the hub, as the hub describes it."""

    path: str  # in the repository
    size: int
    sha256: str  # "" for small files, which the hub keeps by another sum


Progress = Callable[[str, int, int], None]
"""File, bytes done, bytes in all."""


async def pull(store: ModelStore, entry: Entry, hub: str, token: str, progress: Progress) -> None:
    """Bring a model. What is whole already is kept, what was begun goes on. Raises ModelError."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        remotes = await _listed(session, hub, entry)
        files = []
        for remote in remotes:
            name = remote.path.removeprefix(f"{entry.folder}/") if entry.folder else remote.path
            target = store.prepared(entry, name)
            url = f"{hub}/{entry.repository}/resolve/main/{remote.path}"
            found = await _file(session, url, target, remote, progress)
            files.append(ModelFile(name, remote.size, found))
    store.complete(entry, files)


async def _listed(session: aiohttp.ClientSession, hub: str, entry: Entry) -> list[Remote]:
    url = f"{hub}/api/models/{entry.repository}/tree/main/{entry.folder}".rstrip("/") + "?recursive=true"
    try:
        async with session.get(url) as response:
            if response.status != 200:
                raise ModelError(f"{url}: HTTP {response.status}")
            found: list[dict[str, Any]] = await response.json()
        listed = [
            Remote(str(f["path"]), int(f["size"]), str((f.get("lfs") or {}).get("oid", "")))
            for f in found
            if f["type"] == "file"
        ]
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ModelError(f"the hub cannot be reached: {hub}: {error or type(error).__name__}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{url}: unexpected answer: {error}") from error
    wanted = {f"{entry.folder}/{name}".lstrip("/") for name in entry.files}
    if missing := wanted - {remote.path for remote in listed}:
        raise ModelError(f"{entry.repository} has no {', '.join(sorted(missing))} any more")
    return [r for r in listed if (r.path in wanted if wanted else Path(r.path).name not in SKIPPED)]


async def _file(
    session: aiohttp.ClientSession, url: str, target: Path, remote: Remote, progress: Progress
) -> str:
    """Bring one file. Returns its sum."""
    if found := await asyncio.to_thread(_whole, target, remote):
        progress(target.name, remote.size, remote.size)
        return found
    part = target.with_name(target.name + PART)
    error: Exception | None = None
    for attempt in range(TRIES):
        try:
            await _download(session, url, part, remote, progress)
            break
        except (aiohttp.ClientError, TimeoutError) as failed:
            error = failed
            await asyncio.sleep(0.5 * 2**attempt)
    else:
        raise ModelError(f"{url}: {error or 'the connection was lost'}; pull again to go on") from error
    return await asyncio.to_thread(_accept, part, target, remote, url)


async def _download(
    session: aiohttp.ClientSession, url: str, part: Path, remote: Remote, progress: Progress
) -> None:
    """Go on with `part` until it is whole."""
    have = _begun(part, remote)
    if have == remote.size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    async with session.get(url, headers=headers) as response:
        if response.status not in (200, 206):
            raise ModelError(f"{url}: HTTP {response.status}")
        if response.status == 200:
            have = 0  # the server does not go on: from the beginning
        with _opened(part, again=have > 0) as file:
            async for block in response.content.iter_chunked(_BLOCK):
                file.write(block)
                have += len(block)
                progress(part.name.removesuffix(PART), have, remote.size)
    if have < remote.size:
        raise aiohttp.ClientPayloadError("the connection was lost")


def _whole(target: Path, remote: Remote) -> str:
    """Its sum, if the file is there and right; else ""."""
    if not target.is_file() or target.stat().st_size != remote.size:
        return ""
    found = sha256(target)
    return found if found == (remote.sha256 or found) else ""


def _begun(part: Path, remote: Remote) -> int:
    """Bytes that are there; what is too long is none of it."""
    have = part.stat().st_size if part.exists() else 0
    if have > remote.size:
        part.unlink()
        return 0
    return have


def _opened(part: Path, *, again: bool) -> BinaryIO:
    return part.open("ab" if again else "wb")


def _accept(part: Path, target: Path, remote: Remote, url: str) -> str:
    """Take the file over if it is what the hub describes. Returns its sum; raises ModelError."""
    found = sha256(part)
    if part.stat().st_size != remote.size or found != (remote.sha256 or found):
        part.unlink()
        raise ModelError(f"{url}: what came is not what the hub describes; pull again")
    part.replace(target)
    return found
