"""``ecosight-edge``: what a person types on the device. Each command imports what it needs and nothing else."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge import __version__
from edge.detection import commands as model_commands
from edge.failing import Config, clear_errors, fail
from edge.updates import commands as update_commands

app = typer.Typer(
    name="ecosight-edge",
    help="Hears gunshots in the forest and tells rangers within a second.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
app.add_typer(model_commands.app, name="model")
app.add_typer(update_commands.app, name="updates")


class Emit(StrEnum):
    events = "events"
    windows = "windows"


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(config: Config = None) -> None:
    """Listen, detect, alert, keep the evidence: the daemon. Ends at SIGTERM, or at the end of a recording."""
    from edge.service import run as run_daemon
    from edge.state_lock import AlreadyRunningError

    with clear_errors():
        try:
            code = run_daemon(config)
        except AlreadyRunningError as error:
            fail(error)
    raise typer.Exit(code)


@app.command()
def replay(
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.")],
    emit: Annotated[Emit, typer.Option(help="What to print.")] = Emit.events,
    model: Annotated[Path | None, typer.Option(help="Model file; else as the daemon chooses it.")] = None,
    hop_s: Annotated[float | None, typer.Option("--hop-s", help="Seconds between windows.")] = None,
    config: Config = None,
) -> None:
    """Search recordings with the same pipeline. JSON lines on stdout, progress on stderr."""
    from edge.detection.choice import choose
    from edge.replay import replay_files
    from edge.settings import load
    from edge.settings_file import SettingsError

    with clear_errors():
        overrides = {} if hop_s is None else {"ECOSIGHT_DETECTION__HOP_S": str(hop_s)}
        try:
            settings = load(config, {**_environment(), **overrides})
        except SettingsError as error:
            typed = "environment variable ECOSIGHT_DETECTION__HOP_S: detection.hop_s"
            fail(str(error) if hop_s is None else str(error).replace(typed, "--hop-s"))
        chosen = choose(model or settings.detection.model, settings.state_dir, only=model is not None)
        code = replay_files(files, chosen.model, settings.detection, emit.value)
    raise typer.Exit(code)


@app.command()
def devices(
    config: Config = None,
    meter: Annotated[bool, typer.Option(help="Show the level of each microphone for some seconds.")] = True,
    seconds: Annotated[float, typer.Option(help="How long to measure each.")] = 3.0,
) -> None:
    """List microphones and their levels. What stands under audio.device goes into the configuration."""
    from edge.audio.device_list import show_devices
    from edge.settings import load

    with clear_errors():
        code = show_devices(load(config).audio, seconds if meter else 0.0)
    raise typer.Exit(code)


@app.command()
def record(
    label: Annotated[str, typer.Argument(help="What is heard: gun_shot, chainsaw, rain, …")],
    seconds: Annotated[float, typer.Option(help="Length.")] = 10.0,
    out: Annotated[Path, typer.Option(help="Folder for the recording and its metadata.")] = Path("recordings"),
    note: Annotated[str, typer.Option(help="Anything worth remembering: distance, weapon, weather.")] = "",
    config: Config = None,
) -> None:
    """Make a labelled field recording. FLAC, with its metadata (JSON) beside it, for the trainer."""
    from edge.audio.field_recording import record_field
    from edge.settings import load

    with clear_errors():
        path = record_field(load(config), label, seconds, out, note)
    typer.echo(str(path))


@app.command()
def doctor(
    config: Config = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Only what does not disturb a daemon that runs; updates ask this.")
    ] = False,
) -> None:
    """Check everything, and say what to do. From the configuration to the storage."""
    from edge.upkeep.doctor import run_doctor

    if beside:
        from edge.upkeep.doctor.beside import in_my_place

        in_my_place(config)
    raise typer.Exit(run_doctor(config))


@app.command()
def drill(
    config: Config = None,
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="How long to wait for the delivery.")] = 30.0,
) -> None:
    """Send a test alert through the whole path. It says `test: true`; for walk tests."""
    from edge.drill import DrillFailed, run_drill
    from edge.settings import load

    with clear_errors():
        try:
            result = run_drill(load(config), timeout_s)
        except DrillFailed as error:
            fail(error, 1)
    typer.echo(f"{result.alert_id} delivered {result.how} in {result.seconds:.2f} s")


@app.command()
def bench(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to watch the daemon.")] = 60.0,
    yamnet: Annotated[
        Path | None, typer.Option(envvar="ECOSIGHT_YAMNET", help="Google's waveform-in yamnet.tflite, the baseline.")
    ] = None,
    sound: Annotated[
        Path | None, typer.Option(help="A recording for the daemon to hear; without, noise that goes on unchanged.")
    ] = None,
) -> None:
    """Measure CPU, memory and start-up. CPU per second of audio, for each stage and for the whole daemon."""
    from edge.bench import BenchFailed, measure, to_json, to_table
    from edge.settings import load

    with clear_errors():
        try:
            result = measure(
                load(config), yamnet, seconds, lambda text: typer.echo(f"measuring {text} …", err=True), sound
            )
        except BenchFailed as error:
            fail(error, 1)
    typer.echo(to_json(result) if as_json else to_table(result))


@config_app.command("check")
def config_check(config: Config = None) -> None:
    """Say whether it can be used."""
    from edge.settings import load, secret

    with clear_errors():
        settings = load(config)
        secret("mqtt_password", settings.mqtt.password_file)
        secret("s3_access_key", settings.storage.s3.access_key_file)
        secret("s3_secret_key", settings.storage.s3.secret_key_file)
        for name in ("ca_file", "client_certificate_file", "client_key_file"):
            file = getattr(settings.mqtt, name)
            if file is not None and not file.is_file():
                fail(f"mqtt.{name}: there is no file {file}")
    typer.echo(f"{config or 'defaults and environment'}: good; site {settings.site}, device {settings.device}")


@config_app.command("show")
def config_show(config: Config = None) -> None:
    """Print it as the daemon sees it. YAML, defaults included, without the passwords of addresses."""
    import yaml

    from edge.redaction import tree_without_passwords
    from edge.settings import load
    from edge.updates import overlay

    with clear_errors():
        settings = load(config)
        held = overlay.read(settings.state_dir).held
        if held is not None and settings.updates.overlays:
            typer.echo(f"# with the overlay {held.overlay.id}, which maintainers have signed")
        tree = tree_without_passwords(overlay.laid_over(settings, _environment()).model_dump(mode="json"))
    typer.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), nl=False)


@config_app.command("schema")
def config_schema() -> None:
    """Print its JSON Schema, for editors."""
    from edge.settings import EdgeSettings

    typer.echo(json.dumps(EdgeSettings.model_json_schema(), indent=2))


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


if __name__ == "__main__":
    app()
