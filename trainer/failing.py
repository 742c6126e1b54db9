"""How commands tell a person what went wrong: one line on standard error, and an exit code."""

import getpass
from typing import NoReturn

import typer

from edge.failing import said

__all__ = ["fail", "harmless", "said", "who"]


def fail(command: str, message: str, code: int = 1) -> NoReturn:
    """End ``ecosight-trainer COMMAND`` with a message."""
    typer.echo(f"ecosight-trainer {command}: {message}", err=True)
    raise typer.Exit(code)


def who() -> str:
    """The user's name; empty where a number has none, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def harmless(text: str) -> str:
    """Others' words without what would steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
