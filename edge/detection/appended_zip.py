"""A ZIP of stored members behind other bytes, of which there is exactly one for given members.

One order, one date, no compression, no extra fields: whoever takes the members out can write the same bytes again,
so every bit of the ZIP's own structure is checked by comparing, and nothing is ever decompressed. Python's
``zipfile`` would do neither: it tolerates damage, and what it writes changes between versions.

Layout: APPNOTE.TXT 6.3.9, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.16 (its end).
"""

import struct
import zlib
from collections.abc import Mapping

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_NEEDS_2_0 = 20
_MADE_ON_UNIX = 3 << 8 | _NEEDS_2_0
_DATE_1980_01_01 = 0x21
_PLAIN_FILE_644 = 0o100644 << 16


def tail(prefix_bytes: int, members: Mapping[str, bytes]) -> bytes:
    """The ZIP that follows ``prefix_bytes`` bytes: ``members`` by name, in their order. Offsets count from the
    start of the file, as readers of prefixed archives expect."""
    parts, central, position = [], [], prefix_bytes
    for member, content in members.items():
        name, crc, size = member.encode(), zlib.crc32(content), len(content)
        local = _LOCAL.pack(b"PK\3\4", _NEEDS_2_0, 0, 0, 0, _DATE_1980_01_01, crc, size, size, len(name), 0)
        made = (_MADE_ON_UNIX, _NEEDS_2_0, 0, 0, 0, _DATE_1980_01_01)
        entry = _CENTRAL.pack(b"PK\1\2", *made, crc, size, size, len(name), 0, 0, 0, 0, _PLAIN_FILE_644, position)
        central += [entry, name]
        parts += [local, name, content]
        position += len(local) + len(name) + size
    directory = b"".join(central)
    end = _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(directory), position, 0)
    return b"".join([*parts, directory, end])


def split(data: bytes, largest: Mapping[str, int]) -> tuple[bytes, dict[str, bytes]] | None:
    """What stands before the ZIP, and its members.

    ``largest`` names the members that may be there, in order, with their largest sizes in bytes. None unless
    ``data`` is exactly what ``tail`` writes.
    """
    members: dict[str, bytes] = {}
    try:
        _, _, _, _, count, _, at, _ = _END.unpack_from(data, len(data) - _END.size)
        prefix_bytes = at
        for _ in range(min(count, len(largest))):
            fields = _CENTRAL.unpack_from(data, at)
            size, name_bytes, position = fields[8], fields[10], fields[16]
            name = data[at + _CENTRAL.size : at + _CENTRAL.size + name_bytes].decode()
            if size > largest.get(name, -1):
                return None
            begin = position + _LOCAL.size + name_bytes
            members[name] = data[begin : begin + size]
            prefix_bytes = min(prefix_bytes, position)
            at += _CENTRAL.size + name_bytes
    except (struct.error, UnicodeDecodeError):
        return None
    in_order = {name: members[name] for name in largest if name in members}
    if data[prefix_bytes:] != tail(prefix_bytes, in_order):
        return None
    return data[:prefix_bytes], in_order
