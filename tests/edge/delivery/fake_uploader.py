"""Stands in for ``edge.delivery.uploader`` in a child process: the same lines in and out, behaviour by plan.

Usage: fake_uploader.py DIARY PLAN. Every job is noted in DIARY (JSON lines). PLAN is a file with one word per job,
taken in turn, the last one for ever: ``ok``, ``hang``, ``die``, ``rubbish``, or a fault as ``code`` or ``code:clip``.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    diary, plan = Path(sys.argv[1]), Path(sys.argv[2])
    connection = json.loads(sys.stdin.readline())
    assert set(connection) >= {"bucket", "endpoint_url", "region", "access_key", "secret_key"}, connection
    for line in sys.stdin:
        job = json.loads(line)
        assert set(job) == {"alert_id", "items", "perhaps_there"}
        size_bytes = 0
        for item in job["items"]:
            assert set(item) == {"path", "key", "content_type", "sha256"}
            size_bytes += Path(item["path"]).stat().st_size
        words = plan.read_text().split()
        done = len(diary.read_text().splitlines()) if diary.exists() else 0
        word = words[min(done, len(words) - 1)]
        with diary.open("a") as file:
            file.write(json.dumps(job | {"pid": os.getpid(), "at_s": time.monotonic()}) + "\n")
        if word == "die":
            os._exit(3)
        if word == "hang":
            time.sleep(600)
        if word == "rubbish":
            print("this is no JSON", flush=True)
            continue
        code, _, scope = word.partition(":")
        fault = None if word == "ok" else {"code": code, "detail": "as planned", "scope": scope or "storage"}
        answer = {"alert_id": job["alert_id"], "ok": word == "ok", "fault": fault, "peak_rss_kib": 1}
        print(json.dumps(answer | {"sent_bytes": size_bytes if word == "ok" else 0}), flush=True)


if __name__ == "__main__":
    main()
