"""A trained head on disk: weights and all that a model file says about it, in one small ``.npz`` without pickles.

The weights are this project's own; the backbone is not in it. ``about`` is JSON as bytes.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from converters.flatbuffer import GraphError
from edge.detection.model_file import Decision, Label, Role, Sha256

GUN_SHOT = Path(__file__).resolve().parent / "heads" / "gun_shot.npz"
"""The head that comes with the package."""


class About(BaseModel):
    """Everything of a head but its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    labels: list[Label] = Field(min_length=2)
    roles: dict[Label, Role]
    decisions: dict[Label, Decision]
    backbone_sha256: Sha256
    """The backbone whose embeddings it was trained on; it means nothing on another."""
    scale: float = Field(gt=0)
    ensemble_label: Label
    ensemble_classes: list[str]
    """AudioSet classes of the backbone that join in for ``ensemble_label``."""
    ensemble_gain: float
    ensemble_offset: float
    licence: str
    training: dict[str, Any]
    metrics: dict[str, Any]
    card: str
    """Text for ``MODEL_CARD.md``."""


def save(path: Path, about: About, weights: NDArray[np.float32], biases: NDArray[np.float32]) -> None:
    """Write a head. The same head gives the same bytes."""
    text = json.dumps(about.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False).encode()
    content = pack_arrays(weights=weights, biases=biases, about=np.frombuffer(text, np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def load(path: Path) -> tuple[About, NDArray[np.float32], NDArray[np.float32]]:
    """A head: what it is, weights float32 [K, D], biases float32 [K]; D is its backbone's. Raises GraphError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            weights, biases, text = file["weights"], file["biases"], file["about"].tobytes()
        about = About.model_validate_json(text)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, ValidationError) as error:
        raise GraphError(f"{path} is no head: {error}") from error
    count = len(about.labels)
    if weights.dtype != np.float32 or weights.ndim != 2 or len(weights) != count or biases.shape != (count,):
        raise GraphError(
            f"{path} is no head: weights of shape {weights.shape} and biases {biases.shape} for {count} labels"
        )
    return about, weights, biases.astype(np.float32)


def pack_arrays(**arrays: NDArray[Any]) -> bytes:
    """Arrays as the bytes of an ``.npz``, dated 1980: the same arrays give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array) if array.ndim else array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content.getvalue())
    return packed.getvalue()
