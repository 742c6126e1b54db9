"""The maintainer's side of updates over the air: a TUF repository of models, programs and overlays.

``edge.updates.release`` is the contract with the devices, ``docs/how-to/release.md`` the way through the commands.

    keys        private keys: the maintainers' encrypted ones, the online ones
    places      where the repository is: a folder or a bucket
    chain       the metadata that is there, read and verified
    placing     new metadata put there, in an order that a crash cannot break
    change      what waits for maintainers' signatures
    ceremony    the first keys and the first metadata
    rotation    one key in another's place
    contents    what may be released: models, programs, overlays, and whether they are sound
    stages      who shall run what: publish, widen, pause, withdraw
    broker      hints to devices, and what devices say they run
"""


class ReleaseError(RuntimeError):
    """It cannot be done. The text names the thing, the value and the next step."""
