"""Whether the configuration can be used: the first check, whoever looks."""

from pathlib import Path
from typing import TYPE_CHECKING

from edge.upkeep.doctor.examination import Outcome, bad, good

if TYPE_CHECKING:
    from edge.settings import EdgeSettings

CONFIGURATION = "configuration"


def check_configuration(config: Path | None) -> tuple[Outcome, "EdgeSettings | None"]:
    """What is to be said of it, and the settings where they can be used."""
    from edge.settings import SettingsError, load

    try:
        settings = load(config)
    except SettingsError as error:
        return bad(str(error), "correct it; configs/edge.yaml shows every key"), None
    found = f"{config or 'defaults and environment'}: site {settings.site}, device {settings.device}"
    return good(found), settings
