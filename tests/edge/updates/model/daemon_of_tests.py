"""``ecosight-edge`` as it is, on a machine whose clock is set, and which looks for updates at once."""

import os

from edge.audio.system_time import SystemTime
from edge.cli import app
from edge.updates import watching
from edge.updates.model import growth, probation

SystemTime.synchronised = lambda self: True  # type: ignore[method-assign]
watching.FIRST_LOOK_S = 0.1
watching.HINT_SPREAD_S = 0.1
watching.HINT_EVERY_S = 1.0
watching.BUSY_TURN_S = 0.1
watching.TURN_S = 0.3
watching.RETRY_S = 1.0
probation.HEALTHY_S = float(os.environ.get("HEALTHY_S", "1"))
growth.EVERY_S = 0.1

if __name__ == "__main__":
    app()
