"""What the ceremony prints: who keeps what, what loss and theft mean, what goes to devices and to the web server."""

import hashlib

from trainer.release.ceremony import ONLINE_OWNER, Ceremony
from trainer.release.chain import OFFLINE, Chain
from trainer.release.keys import OWNER
from trainer.release.places import METADATA, PENDING, TARGETS
from trainer.release.settings import ReleaseSettings


def page(held: Ceremony, settings: ReleaseSettings) -> str:
    """What to print: who keeps what, what its loss or theft means, what goes to devices and to the web server."""
    root = held.chain.root.signed
    count = len(held.keys) - 1
    spare = count - held.threshold
    lines = [
        "KEY CEREMONY",
        "",
        f"{held.threshold} of {count} maintainers sign. Write this page down; it holds nothing secret.",
        "",
    ]
    for name, files in held.keys.items():
        if name == ONLINE_OWNER:
            continue
        lines.append(f"{name}: takes the medium with these files and keeps it apart from this machine and the others'")
        lines += [f"  {role:8} {path}" for role, path in files]
        lines += [f"  {'':8} {keyid}" for keyid in _ids(held.chain, name)]
    lines += ["", "online keys: stay with whoever widens and re-signs; only they may read them (0600)"]
    lines += [f"  {role:9} {path}" for role, path in held.keys[ONLINE_OWNER]]
    lines += [
        "",
        "What loss and theft mean",
        f"  a maintainer's medium is lost     {_lost(spare)}",
        f"  a maintainer's medium is stolen   {_stolen(held.threshold)}",
        "  an online key is lost             devices keep what they run; rotate-key gives the role another",
        "  an online key is stolen           whoever has it can move devices among models that you signed, above the",
        "                                    floor, or keep news from them; never give them anything else. Rotate it.",
        f"  {f'{held.threshold} media are stolen':33} anything can be signed: visit every device with a new root.json",
        "",
        "Now",
        f"  1. Copy every medium once more, to another building. {_more(spare)}",
        f"  2. Give devices {settings.trusted_root} (it goes to /etc/ecosight/root.json there), and tell",
        f"     each other its SHA-256 by another way: {_sha256(held)}",
        f"  3. Serve {held.chain.place.name} ({METADATA}/ and {TARGETS}/; {PENDING}/ is for maintainers only), and set",
        "     updates.url on devices to its address.",
        "  4. Let a timer run `ecosight-trainer release resign` every day: "
        f"the timestamp holds {settings.expire_days.timestamp} days.",
        f"  5. Renew the offline roles before {root.expires:%Y-%m-%d}: `ecosight-trainer release resign --offline`.",
    ]
    return "\n".join(lines)


def _ids(chain: Chain, name: str) -> list[str]:
    return [
        f"{role} key id {keyid}"
        for role in OFFLINE
        for keyid, key in chain.keys(role).items()
        if key.unrecognized_fields.get(OWNER) == name
    ]


def _sha256(held: Ceremony) -> str:
    return hashlib.sha256(held.chain.root.to_bytes()).hexdigest()


def _lost(spare: int) -> str:
    if spare == 0:
        return "nothing can be signed any more: visit every device with a new root.json"
    return f"the others go on ({spare} may be lost); rotate-key gives them a new one"


def _stolen(threshold: int) -> str:
    if threshold == 1:
        return "once its passphrase is guessed, everything can be signed: rotate-key at once"
    return f"alone it signs nothing, and it is encrypted; rotate-key before {threshold} are gone"


def _more(spare: int) -> str:
    return "" if spare else "No key can be spared here: more maintainers than the threshold would be better."
