"""``yamnet_classifier.keras``: the head for whoever works on with Keras. Only where Keras is installed."""

import tempfile
from pathlib import Path

from converters.extras import MissingExtraError
from converters.head_file import Weights
from converters.keras_head import write_keras_head
from trainer.retraining.telling import Telling

NAME = "yamnet_classifier.keras"


def keras_file(head: Weights, telling: Telling) -> bytes | None:
    """Its bytes: the values that the network gives in, the labels' scores out; a shot at the threshold has 0.5."""
    with tempfile.TemporaryDirectory(prefix="ecosight-") as folder:
        path = Path(folder) / NAME
        try:
            write_keras_head(path, head)
        except MissingExtraError as error:
            telling.say(f"no {NAME}: {error}")
            return None
        return path.read_bytes()
