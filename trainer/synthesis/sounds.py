"""Every procedural sound that is no shot, by name: what it is labelled, and how it is made.

    sound = SOUNDS["rain_on_tin"]
    samples = sound.make(10.0, 16_000, np.random.default_rng(7))     # float64 [160000], peak 1

Labels are those of the recordings that the trainer learns from, where they have one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.synthesis import (
    birds,
    blows,
    clicks,
    creaks,
    engines,
    fireworks,
    gaits,
    hail,
    housing,
    insects,
    keys,
    litter,
    rain,
    releases,
    stones,
    throats,
    thunder,
    vessels,
    wind,
    wood,
)
from trainer.synthesis.grains import Texture, anywhere, once, outdoors, repeated


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
    "axe": Sound(outdoors(repeated(wood.axe, (0.3, 1.5), 0.2)), "wood_chopping", True),
    "wood_splitting": Sound(outdoors(repeated(wood.wood_splitting, (0.15, 0.6), 0.3)), "wood_chopping", True),
    "branch_fall": Sound(outdoors(once(wood.branch_fall)), "branch_fall", True),
    "hand_saw": Sound(anywhere(wood.hand_saw), "hand_saw", False),
    "fire_crackle": Sound(anywhere(wood.fire_crackle), "fire_crackling", True),
    "stone_knock": Sound(outdoors(repeated(stones.stone_knock, (0.3, 4), 0.3)), "stones", True),
    "falling_stones": Sound(outdoors(once(stones.falling_stones)), "stones", True),
    "whip": Sound(outdoors(repeated(releases.whip, (0.2, 1.5), 0.3)), "whip", True),
    "balloon": Sound(anywhere(repeated(releases.balloon, (0.2, 4), 0.6)), "popping", True),
    "cork": Sound(anywhere(repeated(releases.cork, (0.2, 3), 0.5)), "popping", True),
    "can_opening": Sound(anywhere(once(releases.can_opening)), "can_opening", True),
    "nail_gun": Sound(anywhere(repeated(releases.nail_gun, (0.3, 4), 0.4)), "pneumatic", True),
    "air_brake": Sound(anywhere(repeated(releases.air_brake, (0.2, 1), 0.5)), "pneumatic", True),
    "backfire": Sound(outdoors(releases.backfire), "backfire", True),
    "car_door": Sound(outdoors(repeated(blows.car_door, (0.15, 0.8), 0.5)), "door_slam", True),
    "applause": Sound(anywhere(blows.applause), "clapping", True),
    "mouse_clicks": Sound(anywhere(clicks.mouse_clicks), "mouse_click", True),
    "stapler": Sound(anywhere(repeated(clicks.stapler, (0.3, 2), 0.4)), "clicks", True),
    "camera_shutter": Sound(anywhere(clicks.camera_shutter), "clicks", True),
    "clock_ticks": Sound(anywhere(clicks.clock_ticks), "clock_tick", True),
    "electrical_clicks": Sound(clicks.electrical_clicks, "clicks", True),
    "dishes": Sound(anywhere(vessels.dishes), "dishes", True),
    "bottles": Sound(anywhere(repeated(vessels.bottles, (0.2, 2), 0.5)), "bottles", True),
    "chains": Sound(anywhere(vessels.chains), "metal", True),
    "bouncing_ball": Sound(anywhere(vessels.bouncing_ball), "ball", True),
    "door_creak": Sound(anywhere(creaks.door_creak), "door_wood_creaks", True),
    "tree_creak": Sound(outdoors(creaks.tree_creak), "tree_creaks", True),
    "coughs": Sound(anywhere(repeated(throats.cough, (0.4, 3), 0.3)), "coughing", True),
    "sneezes": Sound(anywhere(repeated(throats.sneeze, (0.2, 1), 0.4)), "person_sneeze", True),
    "barks": Sound(anywhere(throats.barks), "dog_bark", True),
    "running_on_gravel": Sound(outdoors(gaits.running_on_gravel), "footsteps", True),
    "running_in_leaves": Sound(outdoors(gaits.running_in_leaves), "footsteps", True),
    "steps_on_boards": Sound(anywhere(gaits.steps_on_boards), "footsteps", True),
    "hoofs": Sound(outdoors(gaits.hoofs), "hoofs", True),
    "boar": Sound(outdoors(gaits.boar), "hoofs", True),
    "twig_on_housing": Sound(housing.twig_on_housing, "housing", True),
    "drops_on_capsule": Sound(housing.drops_on_capsule, "water_drops", True),
    "insect_on_housing": Sound(housing.insect_on_housing, "housing", True),
    "handling": Sound(housing.handling, "housing", True),
    "wind_pops": Sound(housing.wind_pops, "wind", True),
    "hail_on_tin": Sound(hail.hail_on_tin, "hail", True),
    "hail_on_housing": Sound(hail.hail_on_housing, "hail", True),
    "hail_in_forest": Sound(hail.hail_in_forest, "hail", True),
}
