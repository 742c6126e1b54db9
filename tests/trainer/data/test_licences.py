"""Which recordings a model that ships may learn from."""

from pathlib import Path

import pytest

from trainer.data.clip import Clip
from trainer.data.licences import LicenceError, licence_of, split_by_licence
from trainer.data.pack import read_pack


def clip(path: Path, licence: str) -> Clip:
    return Clip(path, "somewhere", "rain", "r1", 5.0, licence, "0" * 64)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC BY 4.0 (as quoted for Zenodo 3519845)", "CC BY"),
        ("CC0", "CC0"),
        ("MIT (package)", "MIT"),
        ("BSD-3-Clause (repository)", "BSD-3-Clause"),
        ("Public Domain", "PD"),
        ("own", "own"),
    ],
)
def test_licences_that_permit_shipping_are_known_by_name(text: str, name: str) -> None:
    assert licence_of(clip(Path("a.flac"), text)) == name


@pytest.mark.parametrize(
    "text",
    [
        "CC BY-NC 3.0 (the set): research only, never in a model that ships",
        "CC BY-NC 4.0",
        "CC BY-SA 4.0",
        "CC BY-ND 4.0",
        "CC-Sampling+",
        "all rights reserved",
        "",
    ],
)
def test_all_others_are_refused(text: str) -> None:
    with pytest.raises(LicenceError):
        licence_of(clip(Path("a.flac"), text))


def test_a_licence_per_clip_is_looked_up_in_its_list(tmp_path: Path) -> None:
    folder = tmp_path / "esc10"
    (folder / "rain").mkdir(parents=True)
    (folder / "ATTRIBUTION.md").write_text(
        "- **[1-11-A.ogg](x)**:  clip derived from [a](y) by *b* ([CC0](http://zero))\n"
        "- **[1-12-A.ogg](x)**:  clip derived from [a](y) by *b* ([CC-Sampling+](http://s))\n"
    )
    text = "CC0 or CC BY, per clip: esc10/ATTRIBUTION.md"
    assert licence_of(clip(folder / "rain" / "1-11-A.ogg", text)) == "CC0"
    for other in ("1-12-A.ogg", "1-13-A.ogg"):
        with pytest.raises(LicenceError):
            licence_of(clip(folder / "rain" / other, text))
    with pytest.raises(LicenceError, match="not there"):
        licence_of(clip(tmp_path / "elsewhere" / "1-11-A.ogg", text))


@pytest.mark.data
def test_of_the_pack_no_clip_of_esc50_and_none_under_sampling_plus_is_allowed(data: Path) -> None:
    allowed, refused = split_by_licence(read_pack(data))
    sources = {one.source for some in allowed.values() for one in some}
    assert not any(source.startswith("ESC-50") for source in sources)
    assert {"SESA/train", "ESC-10", "blanket"} <= sources
    assert sum("Sampling" in reason for reason in refused) == 2
