"""Imports point one way: hub → trainer → converters → edge, and the device carries nothing that it does not use."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
OURS = {"edge", "converters", "trainer", "hub"}

# Which modules of ours each package may import beside its own, as prefixes.
MAY_IMPORT = {
    "edge": (),
    "converters": ("edge.detection", "edge.audio.logmel", "edge.audio.frontend", "edge.plain_yaml"),
    "trainer": ("edge", "converters"),
}

# What a bare installation brings (`dependencies` in pyproject.toml), by import name.
ON_THE_DEVICE = {
    "ai_edge_litert",
    "flatbuffers",  # comes with ai-edge-litert, whose schema is written with it
    "installer",
    "numpy",
    "packaging",
    "paho",
    "pydantic",
    "pydantic_core",
    "rich",
    "securesystemslib",
    "sounddevice",
    "soundfile",
    "soxr",
    "tuf",
    "typer",
    "urllib3",
    "yaml",
}
# Tried at run time, inside functions, by parts that say clearly when it is absent.
LAZY_EXTRAS = {"boto3", "botocore", "bsdiff4", "tflite_runtime"}
TOO_HEAVY_FOR_THE_DAEMON = (
    "tuf",
    "securesystemslib",
    "cryptography",
    "urllib3",
    "boto3",
    "botocore",
    "scipy",
    "sklearn",
    "rich",
    "typer",
)

SOURCES = [path for package in MAY_IMPORT for path in sorted((REPOSITORY / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, in full, and whether at the top level (not inside a function)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in lazy
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where an arrow points"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) not in lazy


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_arrow_points_back(path: Path) -> None:
    package = module_name(path).split(".")[0]
    for name, _ in imports(path):
        top = name.split(".")[0]
        if top in OURS and top != package:
            allowed = MAY_IMPORT[package]
            assert any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed), (
                f"{module_name(path)} imports {name}; {package} may import {allowed or 'nothing else of ours'}"
            )


@pytest.mark.parametrize("path", [path for path in SOURCES if module_name(path).startswith("edge")], ids=module_name)
def test_the_device_needs_no_extra_to_import_a_module(path: Path) -> None:
    for name, at_top in imports(path):
        top = name.split(".")[0]
        if top in OURS or top in sys.stdlib_module_names:
            continue
        assert top in ON_THE_DEVICE or (top in LAZY_EXTRAS and not at_top), f"{module_name(path)} imports {name}"


def test_the_message_contract_imports_only_pydantic_and_the_standard_library() -> None:
    tops = {name.split(".")[0] for name, _ in imports(REPOSITORY / "edge" / "delivery" / "messages.py")}
    assert tops - set(sys.stdlib_module_names) == {"pydantic"}


def test_a_dashboard_can_import_the_messages_without_numpy_or_mqtt() -> None:
    assert not loaded_by("edge.delivery.messages", ("numpy", "paho", "yaml", "ai_edge_litert", "soundfile"))


def test_the_daemon_imports_nothing_heavy() -> None:
    assert not loaded_by("edge.service", TOO_HEAVY_FOR_THE_DAEMON)


def loaded_by(module: str, unwanted: tuple[str, ...]) -> list[str]:
    """Which of ``unwanted`` a fresh interpreter has loaded after importing ``module``."""
    code = f"import sys, {module}; print(*(name for name in {unwanted!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
