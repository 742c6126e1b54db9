"""Passwords in addresses: ``rtsp://user:password@camera/…`` is common, and must not stand in a log or on a screen.

without_passwords("rtsp://me:secret@camera:554/a: refused")   # rtsp://me:…@camera:554/a: refused
"""

import re
from typing import Any

HIDDEN = "…"
_IN_AUTHORITY = re.compile(r"(:/{1,2}[^:/@\s]*):[^/\s]*@")
"""The password of a URL, to the last ``@`` before the path: cameras' passwords hold unescaped ones. One slash is what
a path makes of two."""
_IN_QUERY = re.compile(r"((?:^|[/?&;])(?:pass(?:word|wd)?|pwd|token|key|secret)=)[^&;/\s'\"]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """``text`` with the passwords of its URLs replaced by ``…``, those in queries too."""
    return _IN_QUERY.sub(rf"\1{HIDDEN}", _IN_AUTHORITY.sub(rf"\1:{HIDDEN}@", text))


def tree_without_passwords(tree: Any) -> Any:
    """A tree of dicts, lists and scalars with every string as `without_passwords` gives it."""
    if isinstance(tree, dict):
        return {key: tree_without_passwords(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [tree_without_passwords(value) for value in tree]
    return without_passwords(tree) if isinstance(tree, str) else tree
