"""What a device has learned of its site: how its background scores, and which sounds rangers marked as false.

    site = Site(model, settings.detection, state_dir / "site")
    detector = Detector(model, ring, settings.detection, site=site)
    site.save()                     # now and then, and in the end

Both do nothing unless the model file has a rule for them (``edge.detection.site_rules``). Without a folder all is
forgotten with the process: so does a replay, and gives the same events each time.
"""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

from edge.detection.background import Background
from edge.detection.event import Rule
from edge.detection.marks import Marks
from edge.detection.model import LEAST_THRESHOLD, Model
from edge.settings import DetectionSettings

log = logging.getLogger(__name__)

BACKGROUNDS_KEPT = 3
"""Of models: what runs, what ran before it and may come back, and the one that came with the device."""


class Site:
    """Of one model. Another model begins anew, since its scores mean something else; one that comes back goes on."""

    def __init__(
        self, model: Model, settings: DetectionSettings, folder: Path | None = None, before: "Site | None" = None
    ) -> None:
        """``before``: of the model that this one follows while the daemon runs."""
        self._file = folder / f"background-{model.sha256[:16]}.json" if folder is not None else None
        self._key = {"model_sha256": model.sha256, "hop_s": settings.hop_s} if folder is not None else {}
        self.rules = rules_of(model, settings)
        """The model's own decisions here, in the order of its alert labels; never raised."""
        decisions = model.manifest.decisions
        self.backgrounds: Mapping[str, Background] = {
            rule.label: Background(found, rule.threshold, settings.hop_s)
            for rule in self.rules
            if (found := decisions[rule.label].background) is not None
        }
        self.marks: Marks = Marks(model.manifest, folder, before.marks if before is not None else None)
        self._resume()

    @property
    def problems(self) -> list[str]:
        """``detection:less_sensitive:LABEL`` where a threshold stands as high as it may."""
        return [f"detection:less_sensitive:{label}" for label, one in self.backgrounds.items() if one.at_limit]

    def thresholds(self) -> dict[str, float]:
        """In force now, by label."""
        return {rule.label: rule.raised(self.raised().get(rule.label, 0.0)).threshold for rule in self.rules}

    def raised(self) -> dict[str, float]:
        """Log-odds by which the background has raised each threshold, for labels that have such a rule."""
        return {label: one.raised for label, one in self.backgrounds.items()}

    def save(self) -> None:
        """Keep the backgrounds over a restart. May be called by any thread; a full disk is logged."""
        if self._file is None or not self.backgrounds:
            return
        labels = {label: {"windows": one.windows, "counts": one.counts()} for label, one in self.backgrounds.items()}
        new = self._file.with_name(f".{self._file.name}.new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps({"schema_version": 1, **self._key, "labels": labels}), encoding="utf-8")
            new.replace(self._file)
            kept = sorted(self._file.parent.glob("background*.json"), key=lambda file: file.stat().st_mtime)
            for file in kept[:-BACKGROUNDS_KEPT]:
                file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the site's background cannot be remembered in %s: %s", self._file, error)

    def _resume(self) -> None:
        if self._file is None or not self.backgrounds or not self._file.exists():
            return
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            if {name: document[name] for name in self._key} != self._key:
                return
            for label, one in self.backgrounds.items():
                if label in document["labels"]:
                    one.resume(document["labels"][label]["counts"], int(document["labels"][label]["windows"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s is damaged (%r); the site's background is learnt anew", self._file, error)


def rules_of(model: Model, settings: DetectionSettings) -> list[Rule]:
    """The model's own decisions at this hop, moved by the site's ``threshold_offset``.

    Thresholds stay between 0 and 1, and release keeps its share of the threshold, so that an event still ends.
    """
    rules = []
    for label in model.alert_labels:
        decision = model.manifest.decisions[label]
        threshold = min(max(decision.threshold + settings.threshold_offset, LEAST_THRESHOLD), 0.999)
        release = decision.release * threshold / decision.threshold
        certain = math.inf if decision.certain is None else max(threshold, decision.certain + settings.threshold_offset)
        rules.append(Rule(label, threshold, release, decision.required_hits(settings.hop_s), certain))
    return rules
