"""How commands tell a person what went wrong: one line on standard error, and an exit code."""

import getpass
from typing import NoReturn

import typer


def fail(command: str, message: str, code: int = 1) -> NoReturn:
    """End ``ecosight-trainer COMMAND`` with a message."""
    typer.echo(f"ecosight-trainer {command}: {message}", err=True)
    raise typer.Exit(code)


def said(error: OSError) -> str:
    """What the system said, and of which file."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def who() -> str:
    """The user's name; empty where a number has none, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def harmless(text: str) -> str:
    """Others' words without what would steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
