"""Every bound on what a repository may make this device read, in one place.

Whoever controls the network can send anything: these are the answers to the endless-data and slow-retrieval attacks of
the TUF specification (1.5.2), and to files that would fill the memory of a small board.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes. The time for all of a run is `updates.download_timeout_s`."""

    root_bytes: int = 131_072
    timestamp_bytes: int = 16_384
    snapshot_bytes: int = 65_536
    targets_bytes: int = 1_048_576
    """For each role that signs targets: some 3,000 files. Read, it takes ten times as much memory."""
    root_rotations: int = 256
    """New roots in one look: a device may have been in a drawer for years."""
    delegations: int = 8
    """Roles asked for one target; there are three."""

    rollout_bytes: int = 65_536
    floor_bytes: int = 4_096
    overlay_bytes: int = 65_536
    manifest_bytes: int = 262_144
    """Of a wheelhouse."""
    connect_s: float = 15.0
    silence_s: float = 60.0
    """Without a single byte: the connection is taken for dead."""
    slowest_bytes_per_s: float = 50.0
    slow_window_s: float = 60.0
    """Less than ``slowest_bytes_per_s`` over this long is an attack, or as good as one."""
    attempts: int = 4
    """In a row that bring nothing worth speaking of."""
    pause_s: float = 2.0
    """Before the second attempt; doubled before each further one."""
    chunk_bytes: int = 65_536
