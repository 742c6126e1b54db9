"""Sounds that rangers marked as false, and which event is near one of them.

Embeddings of two networks have nothing to do with one another, so each knows its network (the manifest's
``backbone_sha256``), and only those of the model's own are looked at.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.detection.site_rules import VetoRule


@dataclass(frozen=True, eq=False)
class Marked:
    """The embedding of one alert, as it is kept: before it is marked, and after."""

    alert_id: str
    label: str
    network: str
    """SHA-256 of the backbone whose embedding it is."""
    score: float
    at: str
    """UTC, ISO 8601, for people."""
    embedding: NDArray[np.float16]
    """[D]."""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        encoded = base64.b64encode(self.embedding.astype("<f2").tobytes()).decode()
        known = {name: getattr(self, name) for name in ("alert_id", "label", "network", "score", "at")}
        return {**known, "embedding": encoded}

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Marked":
        """Raises ValueError: no such document."""
        try:
            raw = base64.b64decode(document["embedding"], validate=True)
            embedding = np.frombuffer(raw, "<f2").astype(np.float16)
            alert_id, label, network, at = (str(document[name]) for name in ("alert_id", "label", "network", "at"))
            score = float(document["score"])
        except (KeyError, TypeError, binascii.Error, ValueError) as error:
            raise ValueError(f"no embedding of an alert: {error!r}") from error
        if not len(embedding) or not np.all(np.isfinite(embedding)):
            raise ValueError("an embedding is a row of finite numbers")
        return cls(alert_id, label, network, score, at, embedding)


@dataclass(frozen=True, slots=True)
class Near:
    """The mark that an embedding is near to."""

    alert_id: str
    distance: float


class Vetoes:
    """The marks of one label of one network. Nothing in it changes: who adds one makes another."""

    def __init__(self, rule: VetoRule, label: str, network: str, marked: Iterable[Marked]) -> None:
        own = [one for one in marked if one.label == label and one.network == network]
        width = len(own[-1].embedding) if own else 0
        self.marked = tuple(one for one in own if len(one.embedding) == width)
        self._radius = rule.radius
        self._table = np.stack([_unit(one.embedding) for one in self.marked]) if self.marked else None

    def near(self, embedding: NDArray[np.floating]) -> Near | None:
        """The mark nearest to an embedding, float [F], if it is within the rule's radius (cosine distance)."""
        if self._table is None or len(embedding) != self._table.shape[1]:
            return None
        distances = 1 - self._table @ _unit(embedding)
        nearest = int(np.argmin(distances))
        distance = float(distances[nearest])
        return Near(self.marked[nearest].alert_id, distance) if distance <= self._radius else None


def _unit(embedding: NDArray[np.floating]) -> NDArray[np.float32]:
    values = np.asarray(embedding, np.float32)
    length = float(np.linalg.norm(values))
    return values / np.float32(length) if length else values
