"""A trained head on disk: weights and all that a model file says about it, in one small ``.npz`` without pickles.

The weights are this project's own; the backbone is not in it. ``about`` is JSON as bytes.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from converters.flatbuffer import GraphError
from edge.detection.model_file import Decision, Label, Role, Sha256

GUN_SHOT = Path(__file__).resolve().parent / "heads" / "gun_shot.npz"
"""The head that comes with the package."""


@dataclass(frozen=True)
class Weights:
    """The numbers of a head, for values as the network gives them."""

    weights: NDArray[np.float32]
    """float32 [K, F], F values that are read; with a hidden layer [K, H]."""
    biases: NDArray[np.float32]
    """float32 [K]."""
    hidden_weights: NDArray[np.float32] | None = None
    """float32 [H, F]."""
    hidden_biases: NDArray[np.float32] | None = None
    """float32 [H]."""


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
    maps: list[int] = []
    """Inner maps of the backbone that are read, none for its embedding (``converters.inner``)."""
    scale: float = Field(gt=0)
    ensemble_label: Label
    ensemble_classes: list[str]
    """AudioSet classes of the backbone that join in for ``ensemble_label``; none for most heads."""
    neutral: list[Label] = []
    """Labels that do not count against ``ensemble_label``."""
    ensemble_gain: float
    ensemble_offset: float
    licence: str
    training: dict[str, Any]
    metrics: dict[str, Any]
    card: str
    """Text for ``MODEL_CARD.md``."""


def save(path: Path, about: About, weights: Weights) -> None:
    """Write a head. The same head gives the same bytes."""
    text = json.dumps(about.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False).encode()
    numbers = {name: value for name, value in vars(weights).items() if value is not None}
    if (hidden := weights.hidden_weights) is not None and (hidden == hidden.astype(np.int8)).all():
        numbers["hidden_weights"] = hidden.astype(np.int8)  # whole numbers: a byte is enough
    content = pack_arrays(**numbers, about=np.frombuffer(text, np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def load(path: Path) -> tuple[About, Weights]:
    """A head: what it is, and its weights. Raises GraphError."""
    if path.is_file() and not zipfile.is_zipfile(path):  # numpy would speak of pickles, and how to open them
        raise GraphError(f"{path} is no head: it is no .npz file")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if name != "about"}
            if "hidden_weights" in found and found["hidden_weights"].dtype == np.int8:
                found["hidden_weights"] = found["hidden_weights"].astype(np.float32)
            text = file["about"].tobytes()
        about = About.model_validate_json(text)
        weights = Weights(**found)
    except OSError as error:
        raise GraphError(f"{path} is no head: {error.strerror or error}") from error
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, ValidationError) as error:
        raise GraphError(f"{path} is no head: {error}") from error
    if any(value.dtype != np.float32 for value in found.values()) or not _fits(weights, len(about.labels)):
        shapes = ", ".join(f"{name} {value.shape}" for name, value in found.items())
        raise GraphError(f"{path} is no head: {shapes} for {len(about.labels)} labels")
    return about, weights


def _fits(found: Weights, labels: int) -> bool:
    if found.weights.ndim != 2 or len(found.weights) != labels or found.biases.shape != (labels,):
        return False
    hidden, biases = found.hidden_weights, found.hidden_biases
    if hidden is None or biases is None:
        return hidden is None and biases is None
    return hidden.ndim == 2 and biases.shape == (len(hidden),) and found.weights.shape[1] == len(hidden)


def pack_arrays(**arrays: NDArray[Any]) -> bytes:
    """Arrays as the bytes of an ``.npz``, dated 1980: the same arrays give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array) if array.ndim else array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content.getvalue())
    return packed.getvalue()
