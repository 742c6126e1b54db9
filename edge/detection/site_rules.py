"""What a model file may say of how a device adapts to its site: two optional blocks of a label's decision.

A device that does not know them leaves them out, and decides as the model does without: thresholds are chosen so that
the promise holds without them. Distances are in log-odds of scores, so that they mean the same anywhere on the scale.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)


class BackgroundRule(_Rule):
    """Where the site's own background keeps scoring high, the threshold stays above it. It never falls under the
    model's own."""

    quantile: float = Field(ge=0.5, lt=1)
    """Of the scores of the site's windows, whatever they hold."""
    margin: float = Field(gt=0, le=10)
    """Log-odds that the threshold stays above this quantile."""
    horizon_s: float = Field(ge=60, le=604_800)
    """Time constant of forgetting, in seconds of sound."""
    warm_up_s: float = Field(ge=0, le=604_800)
    """Sound that must have been heard before it does anything."""
    most: float = Field(gt=0, le=10)
    """Log-odds by which the threshold is raised at most: a device must not go deaf."""


class VetoRule(_Rule):
    """Events near a sound that a ranger marked as false are counted, and not sent."""

    metric: Literal["cosine"] = "cosine"
    """Distance of two embeddings: one minus the cosine of their angle."""
    radius: float = Field(gt=0, lt=1)
    """An event whose embedding is at most this far from a marked one is vetoed."""
    most: int = Field(default=64, ge=1, le=1024)
    """Marks that are kept; the oldest goes first."""


def log_odds(score: float) -> float:
    """As far as a float32 tells it from 0 and 1."""
    inside = min(max(score, 2.0**-24), 1 - 2.0**-24)
    return math.log(inside / (1 - inside))


def score_at(log_odds: float) -> float:
    """The score with these log-odds."""
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
