"""The folder of all that is kept: calls, their database, models. What callers said is in it."""

import os
from pathlib import Path

from voicegw.errors import StartError

FOLDER_MODE = 0o700  # nobody else's business; whoever wants a group to read makes the folder himself


def data_folder(path: Path) -> Path:
    """The folder, made if need be; one that is there keeps its mode. Raises StartError if nothing can be
    written there."""
    hint = "choose another by data_dir (VOICEGW_DATA_DIR)"
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"data folder {path} cannot be made: {error.strerror}; {hint}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise StartError(f"data folder {path} is not writable; {hint}")
    return path.absolute()
