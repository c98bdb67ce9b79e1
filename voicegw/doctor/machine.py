"""This machine: disk, open files, clock, ports."""

import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from voicegw.config import Config
from voicegw.doctor.finding import Finding, bad, good, warning

DISK_GB = 2.0  # a day of 50 calls at a time, recorded in stereo at 8 kHz, takes about 130
FILES_A_CALL = 6  # RTP, RTCP, recording, timeline, event socket
PROBES = 20  # RTP ports that are tried


def machine(config: Config) -> Iterator[Finding]:
    """Everything that needs no connection."""
    yield _disk(config.data_dir)
    yield _mode(config.data_dir)
    yield _files(config.limits.max_calls)
    yield _clock()
    yield _rtp_ports(config)


def _disk(folder: Path) -> Finding:
    there = folder
    while not there.exists():
        there = there.absolute().parent
    free = shutil.disk_usage(there).free / 1e9
    what = f"disk: {free:.1f} GB free for {folder}"
    if not os.access(there, os.W_OK):
        return bad(f"disk: {there} cannot be written", "choose another data_dir, or change its owner")
    if free < DISK_GB:
        return warning(what, "make room, or shorten how long recordings are kept")
    return good(what)


def _mode(folder: Path) -> Finding:
    """Files in it are made for the owner and his group, but old ones, models and copies may not be."""
    if folder.exists() and folder.stat().st_mode & 0o007:
        return warning(
            f"data folder {folder}: everybody on this machine may look into it",
            f"chmod o-rwx {folder}: what callers said is in it",
        )
    return good(f"data folder {folder}: closed to others")


def _files(calls: int) -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    wanted = calls * FILES_A_CALL + 100
    what = f"open files: {limit} allowed, {wanted} wanted for {calls} calls"
    if limit != resource.RLIM_INFINITY and limit < wanted:
        return bad(what, f"ulimit -n {wanted}, or LimitNOFILE={wanted} in the systemd unit")
    return good(what)


def _clock() -> Finding:
    try:
        command = ["timedatectl", "show", "-p", "NTPSynchronized", "--value"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        text = ""
    if text == "yes":
        return good("clock: synchronised")
    said = "not synchronised" if text == "no" else "nobody says whether it is synchronised"
    return warning(f"clock: {said}", "run an NTP service; times of calls and certificates depend on it")


def _rtp_ports(config: Config) -> Finding:
    rtp = config.rtp
    if not rtp.first_port:
        return good("rtp ports: any free ones")
    room = (rtp.last_port - rtp.first_port) // 2 + 1
    what = f"rtp ports: {rtp.first_port} to {rtp.last_port}, room for {room} calls"
    if room < config.limits.max_calls:
        return bad(
            what, f"limits.max_calls is {config.limits.max_calls}: widen rtp.first_port, rtp.last_port"
        )
    step = max(1, room // PROBES) * 2
    tried = range(rtp.first_port, rtp.last_port + 1, step)
    taken = [port for port in tried if not _is_free(port)]
    if len(taken) > len(tried) // 4:
        return warning(f"{what}; {len(taken)} of {len(tried)} tried are taken", "choose another range")
    return good(what)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
