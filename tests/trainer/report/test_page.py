"""The page: everything on it, nothing from elsewhere, for a phone and for ears."""

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import soundfile

from tests.trainer.models.making import judged_on, metrics
from trainer.judging.gate import judge
from trainer.judging.hardest import write_excerpts
from trainer.judging.metrics import Ablation, Metrics, Quantisation, Speed
from trainer.judging.statistics import Interval
from trainer.report.figures import number
from trainer.report.page import METRICS, render, write_report


def full() -> Metrics:
    """Figures of every kind."""
    found = metrics(
        speed=Speed(ms_per_window=0.5, against="yamnet 1", ratio=0.4),
        quantisation=Quantisation(per_hour=3, recall_float=0.9, recall_int8=0.89),
        ablations=[Ablation(without="distance", per_hour=3, recall=0.4, difference=Interval(-0.1, -0.2, -0.01))],
    )
    return found.model_copy(update={"gate": judge(found, found)})


class Tags(HTMLParser):
    """All elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    found = write_excerpts(full(), judged_on().sounds, folder)
    (folder / METRICS).write_text(found.model_dump_json())
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def tags(text: str) -> Tags:
    return Tags(text)


def test_the_page_fetches_nothing_and_runs_nothing(text: str, tags: Tags) -> None:
    names = {name for name, _ in tags.found}
    assert not names & {"script", "link", "iframe", "object", "form"}
    for _, attributes in tags.found:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    assert "url(" not in text
    assert "@import" not in text
    policy = next(meta for meta in tags.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")


def test_the_page_is_well_formed_and_its_links_lead_somewhere(tags: Tags) -> None:
    assert tags.open == []
    anchors = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    assert {link["href"][1:] for link in tags.all("a")} <= set(anchors)
    assert len(tags.all("h1")) == 1
    assert tags.all("html")[0]["lang"] == "en"
    assert any("width=device-width" in meta.get("content", "") for meta in tags.all("meta"))


def test_every_section_of_the_plan_is_there(text: str) -> None:
    for title in (
        "Shots found, at a stated number of false alarms",
        "False alarms: promised and measured",
        "Gate",
        "Recall against false alarms per hour",
        "Precision and recall of events",
        "Detection error tradeoff of single windows",
        "Reliability of a window&#x27;s score",
        "The hardest false alarms",
        "Shots that were missed, the clearest first",
        "Confusion matrix",
        "What each part of the training is worth",
        "Size, speed, and int8",
        "What this rests on",
    ):
        assert title in text, title


def test_what_is_seen_can_also_be_read_and_heard(tags: Tags) -> None:
    images = tags.all("img")
    assert len(images) == 4 + 2
    assert all(len(image["alt"]) > 30 for image in images)
    players = tags.all("audio")
    assert len(players) == 2
    for player in players:
        assert "controls" in player
        assert player["aria-label"].startswith("Play ")
        sound = base64.b64decode(player["src"].removeprefix("data:audio/flac;base64,"))
        samples, rate = soundfile.read(io.BytesIO(sound))
        assert rate == 16_000
        assert len(samples) == 4 * rate
    for region in tags.all("div"):
        if region.get("class") == "scroll":
            assert region["tabindex"] == "0"
            assert region["aria-label"]


def test_every_rule_of_the_gate_stands_with_its_value(text: str) -> None:
    gate = full().gate
    assert gate is not None
    for rule in gate.rules:
        assert rule.name in text
        assert f"<td>{number(rule.measured)}</td>" in text
    assert "It passes the gate." in text


def test_hostile_names_stay_text(text: str) -> None:
    assert "barn &lt;door&gt; &amp; co" in text
    assert "<door>" not in text


def test_the_same_figures_give_the_same_page(folder: Path, text: str) -> None:
    found = Metrics.model_validate_json((folder / METRICS).read_bytes())
    assert render(found, folder) == text


def test_a_model_without_errors_or_extras_has_a_page_too(tmp_path: Path) -> None:
    bare = metrics(false_alarms=[], misses=[], classes=[], notes=[])
    bare = bare.model_copy(update={"gate": None, "curves": bare.curves.model_copy(update={"points": [], "det": []})})
    text = render(bare, tmp_path)
    assert Tags(text).open == []
    assert "No shot was missed" in text
    assert "has not been held against the gate" in text
    assert "Ablations" not in text
    assert "there is no float model" in text


def test_a_moment_whose_sound_was_not_kept_says_so(tmp_path: Path) -> None:
    assert "Its sound was not kept." in render(metrics(), tmp_path)


def test_numbers_are_short_and_whole_ones_whole() -> None:
    assert [number(value) for value in (None, 3, 0.12345, 12.34, 1234567, -0.05, 0.0)] == [
        "–", "3", "0.123", "12.3", "1\u202f234\u202f567", "-0.05", "0",
    ]  # fmt: skip


MEASURE = """<!doctype html><iframe src="report.html" width="360" height="800"></iframe><script>
onload = () => { const page = document.querySelector("iframe").contentDocument;
  document.body.innerText = "width " + page.documentElement.scrollWidth +
    " images " + [...page.images].filter((image) => image.naturalWidth > 0).length; };
</script>"""


def test_a_phone_shows_all_of_it_without_scrolling_sideways(folder: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("MISSING: no Chromium to look at the report with (apt-get install chromium)")
    shutil.copy(folder / "report.html", tmp_path)
    (tmp_path / "phone.html").write_text(MEASURE)
    switches = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    shown = subprocess.run(
        [browser, *switches, f"--user-data-dir={tmp_path}/profile", f"file://{tmp_path}/phone.html"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    measured = re.search(r"width (\d+) images (\d+)", shown.stdout)
    assert measured, shown.stdout + shown.stderr
    assert int(measured[1]) <= 360
    assert int(measured[2]) == 6
