"""What a model from elsewhere cannot say of itself: names, labels, roles and when an alert is due. YAML or JSON.

    name: river-guns
    version: "1"
    licence: CC0-1.0
    labels: [gun_shot, rain, background]     # the columns of the scores
    roles: {gun_shot: alert}                 # all others are background
    decisions:
      gun_shot: {threshold: 0.5, release: 0.3, hits: {"0.24": 2, "0.48": 1}}
    scores: output_0                         # which output; may be left out where there is one
    activation: softmax                      # what the output still lacks: none, sigmoid or softmax
    card: Trained on the river recordings of 2025.

An activation that is added here is computed in float: an int8 graph with its softmax inside gives scores in steps of
1/256, which tie near 1.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from converters.flatbuffer import GraphError
from converters.patch_graph import Missing
from edge.detection.model_file import Decision, Label, Manifest, Role

_SCORE_KINDS = {"none": "softmax", "sigmoid": "sigmoid", "softmax": "softmax"}


class DescriptionError(GraphError):
    """The file that describes a model cannot be used. It is named in the text."""


class Description(BaseModel):
    """Everything of a model file but its graph."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    version: str
    licence: str = "unknown"
    labels: list[Label] = Field(min_length=1)
    """What the columns of the scores are."""
    roles: dict[Label, Role]
    """Of labels and context labels; what is not named is background."""
    decisions: dict[Label, Decision]
    scores: str | None = None
    """The output that holds the scores; None for the only one."""
    activation: Missing = "none"
    """What the scores still lack."""
    score_kind: str | None = None
    """How the scores were made (softmax, sigmoid); from the activation where it is not said."""
    context: str | None = None
    """An output with the scores of ``context_labels``."""
    context_labels: list[Label] = []
    speech_label: str | None = None
    embedding: str | None = None
    """An output to be passed on as the embedding."""
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    card: str = ""
    """Text for ``MODEL_CARD.md``."""

    @model_validator(mode="after")
    def _context_is_whole(self) -> "Description":
        if (self.context is None) != (not self.context_labels):
            raise ValueError("context and context_labels go together")
        return self

    @property
    def outputs(self) -> dict[str, str | None]:
        """What the model file's outputs are called in the original."""
        found: dict[str, str | None] = {"scores": self.scores}
        if self.context is not None:
            found["context"] = self.context
        if self.embedding is not None:
            found["embedding"] = self.embedding
        return found

    def manifest(self) -> Manifest:
        """Raises GraphError where it would not be a manifest that a device takes."""
        try:
            return Manifest.model_validate(
                {
                    "name": self.name,
                    "version": self.version,
                    "labels": self.labels,
                    "roles": {**dict.fromkeys(self.labels, "background"), **self.roles},
                    "decisions": self.decisions,
                    "context_labels": self.context_labels,
                    "speech_label": self.speech_label,
                    "score_kind": self.score_kind or _SCORE_KINDS[self.activation],
                    "training": self.training,
                    "metrics": self.metrics,
                    "licence": self.licence,
                }
            )
        except ValidationError as error:
            raise GraphError(_first(error)) from error


def read_description(path: Path) -> Description:
    """Raises DescriptionError with the file, the key and what is wrong with it."""
    import yaml

    from edge.plain_yaml import explain

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML, too
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptionError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise DescriptionError(f"{path}{explain(error)}") from error
    if not isinstance(content, dict):
        raise DescriptionError(f"{path} describes no model: expected keys such as name, labels and decisions")
    try:
        described = Description.model_validate(content)
        described.manifest()
    except ValidationError as error:
        raise DescriptionError(f"{path}: {_first(error)}") from error
    except GraphError as error:
        raise DescriptionError(f"{path}: {error}") from error
    return described


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
