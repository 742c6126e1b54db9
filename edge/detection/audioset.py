"""The AudioSet classes that matter here, by the names in ``yamnet_class_map.csv`` (Google, Apache-2.0)."""

SPEECH = "Speech"

VOICES = (
    SPEECH,
    "Child speech, kid speaking",
    "Conversation",
    "Narration, monologue",
    "Shout",
    "Yell",
    "Children shouting",
    "Whispering",
)
"""Classes of human voice that the privacy gate reads."""

GUNS = ("Gunshot, gunfire", "Machine gun", "Fusillade", "Artillery fire", "Cap gun")
"""YAMNet's own idea of a gunshot is the highest of these."""

CONTEXT = (*VOICES, *GUNS, "Explosion", "Fireworks", "Firecracker", "Chainsaw", "Thunder", "Engine", "Vehicle", "Dog")
"""Classes whose scores a model made from YAMNet passes on as ``context``: voices for the privacy gate, guns and what
is easily taken for them, and what else a warden of a forest asks for."""
