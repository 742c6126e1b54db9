"""``ecosight-trainer``: from recordings to a model worth waking a ranger for. Commands live in their rooms."""

import typer

from trainer.augmentation.commands import augment
from trainer.data.commands import app as data
from trainer.distillation.commands import backbone, distill
from trainer.finetuning.commands import finetune
from trainer.judging.commands import app as benchmark
from trainer.models import commands as models
from trainer.release.commands import app as release
from trainer.retraining.commands import retrain
from trainer.synthesis.commands import app as synth

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="From recordings to a model.")
app.add_typer(data, name="data")
app.command()(augment)
app.add_typer(synth, name="synth")
app.command()(retrain)
app.add_typer(benchmark, name="benchmark")
app.command()(distill)
app.command()(finetune)
app.add_typer(backbone, name="backbone")
app.add_typer(release, name="release")
for command in (models.evaluate, models.compare, models.report, models.history, models.promote, models.rollback):
    app.command()(command)
