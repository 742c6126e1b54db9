"""JSON Schemas of the payloads, for ``docs/reference/schemas``: ``python -m edge.delivery.schemas FOLDER``."""

import json
import sys
from pathlib import Path

from edge.delivery.messages import PAYLOADS


def schemas() -> dict[str, str]:
    """File name and text for every payload."""
    return {
        f"{leaf}.json": json.dumps(payload.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
        for leaf, payload in PAYLOADS.items()
    }


def write(folder: Path) -> list[Path]:
    """Write them to ``folder``, made if absent; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
        files.append(folder / name)
    return files


if __name__ == "__main__":
    write(Path(sys.argv[1]))
