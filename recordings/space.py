"""How much room the disk has, watched before it is full."""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

ENOUGH_SHARE = 1.1  # of the least, at which it is well again: so that it does not flap
MB = 1_000_000


class DiskSpace:
    """Of the file system below a folder, which need not exist yet."""

    def __init__(self, folder: Path, least_mb: int) -> None:
        """`least_mb` 0: only measured."""
        self._folder, self._least = folder, least_mb * MB
        self.free = -1  # bytes; -1: not known
        self.low = False

    def look(self) -> None:
        """Look now. May block, as every access to a disk."""
        try:
            found = os.statvfs(self._existing())
        except OSError:  # whoever writes will say so
            return
        self.free = found.f_bavail * found.f_frsize
        least = self._least * ENOUGH_SHARE if self.low else self._least
        low = self.free < least
        if low and not self.low:
            log.warning(
                "the disk is nearly full", extra={"free_mb": self.free // MB, "folder": str(self._folder)}
            )
        elif self.low and not low:
            log.info("the disk has room again", extra={"free_mb": self.free // MB})
        self.low = low

    def fault(self) -> str | None:
        """For /health."""
        return f"the disk is nearly full: {self.free // MB} MB free" if self.low else None

    def _existing(self) -> Path:
        folder = self._folder
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder
