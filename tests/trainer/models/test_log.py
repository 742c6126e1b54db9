"""The log: what was once written in it stays, and a change is noticed."""

import json
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainer.models.log import NAME, Entry, LogError, append, read

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def entry(number: int, **more: object) -> Entry:
    return Entry(at=AT, action="retrained", version=f"20260102-{number}-0123abcd", reason="Grüße\n", **more)  # type: ignore[arg-type]


def test_entries_come_back_in_order_each_with_the_digest_of_the_one_before(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    for number in range(3):
        append(tmp_path, entry(number, recall={"3": 0.5}, details={"seed": 1, "share": 0.1}))
    found = read(tmp_path)
    assert [one.version for one in found] == [f"20260102-{number}-0123abcd" for number in range(3)]
    assert [one.previous for one in found[1:]] == [one.sha256 for one in found[:-1]]
    document = json.loads((tmp_path / NAME).read_text())
    assert document["schema_version"] == 1
    assert len((tmp_path / NAME).read_text().splitlines()) == 3 + 5


@pytest.mark.parametrize(
    "tamper",
    [
        lambda entries: entries[1].update(forced=False),
        lambda entries: entries.pop(1),
        lambda entries: entries.reverse(),
        lambda entries: entries.insert(1, dict(entries[0])),
        lambda entries: entries[0].update(version=1),
    ],
)
def test_an_entry_that_was_changed_or_taken_out_is_noticed_and_the_log_is_left_alone(tmp_path: Path, tamper) -> None:  # type: ignore[no-untyped-def]
    for number in range(3):
        append(tmp_path, entry(number, forced=number == 1))
    document = json.loads((tmp_path / NAME).read_text())
    tamper(document["entries"])
    (tmp_path / NAME).write_text(json.dumps(document))
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(LogError, match="restore"):
        append(tmp_path, entry(9))
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"entries": 5}', "{", "nonsense"])
def test_what_is_no_log_is_never_written_over(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(LogError):
        append(tmp_path, entry(1))
    assert (tmp_path / NAME).read_text() == content


def test_what_a_later_version_says_is_kept(tmp_path: Path) -> None:
    append(tmp_path, entry(1))
    document = json.loads((tmp_path / NAME).read_text())
    raw = document["entries"][0]
    raw["weather"] = "rain"
    from trainer.models.log import _digest

    raw["sha256"] = _digest(raw)
    (tmp_path / NAME).write_text(json.dumps(document))
    append(tmp_path, entry(2))
    assert json.loads((tmp_path / NAME).read_text())["entries"][0]["weather"] == "rain"
    assert len(read(tmp_path)) == 2


def test_a_full_disk_loses_no_entry(tmp_path: Path) -> None:
    append(tmp_path, entry(1))
    before = (tmp_path / NAME).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        with pytest.raises(OSError, match="large"):
            append(tmp_path, entry(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    append(tmp_path, entry(2))
    assert len(read(tmp_path)) == 2


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from trainer.models.log import Entry, append
from trainer.models.store import Store

store = Store(Path(sys.argv[1]))
while True:
    with store.locked():
        done = append(store.root, Entry(at=datetime.now(UTC), action="retrained", version="x", reason="y" * 500))
    print(done.sha256, flush=True)
"""


def test_no_entry_is_lost_when_its_writers_are_killed(tmp_path: Path) -> None:
    """Two at once, killed at any moment: whatever was said to be written is there, and the chain holds."""
    said: list[str] = []
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            said += [writer.stdout.readline().strip() for _ in range(4)]
        for writer in writers:
            writer.kill()
            assert writer.stdout is not None
            said += [line.strip() for line in writer.stdout if len(line) == 65]
            writer.wait()
            writer.stdout.close()
    there = [one.sha256 for one in read(tmp_path)]
    assert set(said) <= set(there)
    assert len(there) == len(set(there))
