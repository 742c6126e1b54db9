"""Real servers for the tests: each module holds one server's fixture. Missing programs are never silent."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip for want of a server program; under ``ECOSIGHT_REQUIRE_ALL=1`` fail instead."""
    if os.environ.get("ECOSIGHT_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} is missing and ECOSIGHT_REQUIRE_ALL=1")
    pytest.skip(f"MISSING SERVER: {what}")
