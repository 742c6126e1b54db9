"""Every procedural sound that is no shot, by name: what it is labelled, and how it is made.

    sound = SOUNDS["rain_on_tin"]
    samples = sound.make(10.0, 16_000, np.random.default_rng(7))     # float64 [160000], peak 1

Labels are those of the recordings that the trainer learns from, where they have one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.synthesis import birds, blows, engines, fireworks, insects, keys, litter, rain, thunder, wind
from trainer.synthesis.grains import Texture, once, outdoors, repeated


@dataclass(frozen=True)
class Sound:
    """One kind of sound."""

    make: Texture
    """``(seconds, rate_hz, random)`` gives float64 [round(seconds * rate_hz)], peak 1, from 0.2 s on."""
    label: str
    impulsive: bool
    """Whether it holds impulses that a shot could be mistaken for."""


SOUNDS: Mapping[str, Sound] = {
    "wind": Sound(wind.wind, "wind", False),
    "leaves_in_wind": Sound(wind.leaves_in_wind, "wind", False),
    "rain_on_leaves": Sound(rain.rain_on_leaves, "rain", False),
    "rain_on_ground": Sound(rain.rain_on_ground, "rain", False),
    "rain_on_tin": Sound(rain.rain_on_tin, "rain", True),
    "rain_on_tarpaulin": Sound(rain.rain_on_tarpaulin, "rain", True),
    "rain_on_plastic": Sound(rain.rain_on_plastic, "rain", True),
    "drips": Sound(rain.drips, "water_drops", True),
    "thunder": Sound(once(thunder.thunder), "thunderstorm", True),
    "crickets": Sound(insects.crickets, "crickets", False),
    "cicadas": Sound(insects.cicadas, "insects", False),
    "clicking_insects": Sound(insects.clicking_insects, "insects", True),
    "frogs": Sound(insects.frogs, "frog", False),
    "birdsong": Sound(birds.birdsong, "chirping_birds", False),
    "caws": Sound(birds.caws, "crow", False),
    "woodpecker": Sound(outdoors(repeated(birds.drumming, (0.1, 0.4), 0.4)), "woodpecker", True),
    "footsteps": Sound(outdoors(litter.footsteps), "footsteps", True),
    "rustling": Sound(litter.rustling, "rustling", True),
    "twig_snap": Sound(outdoors(repeated(litter.twig_snap, (0.2, 2), 0.6)), "twig_snap", True),
    "clapping": Sound(outdoors(repeated(blows.clap, (0.5, 6))), "clapping", True),
    "knocking": Sound(outdoors(repeated(blows.knock, (0.5, 5))), "door_wood_knock", True),
    "hammering": Sound(outdoors(repeated(blows.hammer_on_nail, (0.8, 4), 0.1)), "hammering", True),
    "hammering_metal": Sound(outdoors(repeated(blows.hammer_on_metal, (0.5, 3), 0.1)), "hammering", True),
    "clanks": Sound(outdoors(repeated(blows.clank, (0.2, 1.5), 0.5)), "metal", True),
    "door_slam": Sound(outdoors(once(blows.door_slam)), "door_slam", True),
    "key_clicks": Sound(outdoors(repeated(keys.key_click, (0.5, 9), 0.4)), "keyboard_typing", True),
    "typewriter": Sound(outdoors(keys.typewriter), "keyboard_typing", True),
    "glass_break": Sound(outdoors(once(keys.glass_break)), "glass_breaking", True),
    "idling_diesel": Sound(outdoors(engines.idling_diesel), "engine", True),
    "knocking_engine": Sound(outdoors(engines.knocking_engine), "engine", True),
    "two_stroke": Sound(outdoors(engines.two_stroke), "engine", False),
    "chainsaw": Sound(outdoors(engines.chainsaw), "chainsaw", False),
    "jackhammer": Sound(outdoors(engines.jackhammer), "jackhammer", True),
    "helicopter": Sound(outdoors(engines.helicopter), "helicopter", False),
    "firework": Sound(once(fireworks.firework), "fireworks", True),
    "firecrackers": Sound(fireworks.firecrackers, "fireworks", True),
}
