"""Training of one stage after another, and writing or reopening the folder of a model."""

import argparse
from pathlib import Path
from typing import Final

import torch

from demo_model.config import PLANS, SIZES
from demo_model.painter.scene import PLACES
from demo_model.train import adapt, autoencoder, classifier, dataset, distil, export, flow, text
from demo_model.train.run import DATASET_FIRST_SEED, TrainingRun
from demo_model.train.trainer import Budget

DEFAULT_FOLDER: Final = Path("var/demo_model")
TRAINED_STAGES: Final = ("decoder", "text", "classifier", "transformer", "distil", "adapt")
# The learning rate of these stages falls to zero, so that each call ends with finished weights.
DECAYING_STAGES: Final = ("decoder", "classifier", "distil", "adapt")
STAGES: Final = ("encoder", *TRAINED_STAGES, "paint", "encode", "export", "reopen")


def main() -> None:
    """Parse the arguments, and run the stages in their order."""
    arguments = _parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    run = TrainingRun(
        folder=arguments.folder,
        device=torch.device(arguments.device),
        sizes=SIZES[arguments.sizes],
        is_compiling=arguments.compile,
        is_bfloat16=arguments.bfloat16,
    )
    for stage, minutes in arguments.stages:
        budget = Budget(
            minutes=minutes,
            steps=arguments.steps,
            decay=arguments.decay or stage in DECAYING_STAGES,
            report_seconds=arguments.report_seconds,
        )
        _run_stage(arguments, stage, run, budget)


def _run_stage(arguments: argparse.Namespace, stage: str, run: TrainingRun, budget: Budget) -> None:
    match stage:
        case "encoder":
            autoencoder.initialize(run)
        case "decoder":
            autoencoder.train(
                run,
                budget,
                sides=arguments.sides,
                crop=arguments.crop,
                batch=arguments.batch,
                picture_count=arguments.pictures,
            )
        case "text":
            text.train(run, budget)
        case "classifier":
            classifier.train(run, budget, picture_count=arguments.pictures, batch=arguments.batch)
        case "paint" | "encode":
            fill = dataset.prepaint if stage == "paint" else dataset.fill
            fill(
                run,
                plan=arguments.plan,
                count=arguments.examples,
                print_line=budget.print_line,
                first_seed=arguments.first_seed,
            )
        case "transformer":
            flow.train(
                run,
                budget,
                plan=arguments.plan,
                token_count=arguments.tokens,
                learning_rate=arguments.rate,
                subject_weight=arguments.subject_weight,
            )
        case "distil":
            distil.train(
                run,
                budget,
                plan=arguments.plan,
                token_count=arguments.tokens,
                trajectory_count=arguments.trajectories,
                guidance=arguments.guidance,
                subject_weight=arguments.subject_weight,
            )
        case "adapt":
            adapt.train(
                run,
                budget,
                plan=arguments.plan,
                place=arguments.place,
                token_count=arguments.tokens,
                learning_rate=arguments.rate,
            )
        case "export":
            byte_count = export.export(run, arguments.to)
            budget.print_line(f"{arguments.to}: {byte_count / 1e6:.1f} MB of weights")
        case "reopen":
            export.reopen(run, arguments.to)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo_model.train", description=__doc__)
    parser.add_argument(
        "stages", nargs="+", type=_parse_stage, metavar="STAGE[=MINUTES]", help=", ".join(STAGES)
    )
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="folder of the checkpoints")
    parser.add_argument(
        "--to", type=Path, default=Path("var/models/demo"), help="folder that export writes and reopen reads"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="number of torch threads on a CPU")
    parser.add_argument("--sizes", choices=SIZES, default="whole")
    parser.add_argument(
        "--compile", action="store_true", help="compile the networks: a slow start, then faster steps"
    )
    parser.add_argument(
        "--bfloat16", action="store_true", help="train in bfloat16 on a CPU, which needs AMX to be faster"
    )
    parser.add_argument("--steps", type=int, help="maximum number of steps of each stage")
    parser.add_argument(
        "--decay", action="store_true", help="let every learning rate fall to zero by the end of this call"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=flow.LEARNING_RATE,
        help="learning rate of the transformer; small batches need a lower one",
    )
    parser.add_argument(
        "--subject-weight",
        type=float,
        default=1.0,
        help="weight of tokens that show the subject; other tokens weigh 1",
    )
    parser.add_argument("--report-seconds", type=float, default=30.0)
    parser.add_argument(
        "--sides",
        type=int,
        nargs="+",
        default=autoencoder.INITIAL_SIDES,
        help="sides of the pictures that the decoder learns from, in pixels",
    )
    parser.add_argument("--crop", type=int, default=256, help="side of the decoder's crops, in pixels")
    parser.add_argument(
        "--batch", type=int, default=64, help="pictures in a batch of the decoder and of the classifier"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=4096,
        help="number of pictures that the decoder and the classifier learn from",
    )
    parser.add_argument("--place", choices=PLACES, default="mountains", help="place that `adapt` learns")
    parser.add_argument("--plan", choices=PLANS, default="whole", help="kinds of examples in the dataset")
    parser.add_argument(
        "--examples",
        type=int,
        default=16_000,
        help="number of examples in the dataset, of all kinds together",
    )
    parser.add_argument(
        "--first-seed", type=int, default=DATASET_FIRST_SEED, help="first seed of the dataset's scenes"
    )
    parser.add_argument("--tokens", type=int, default=65_536, help="tokens in a batch of the transformer")
    parser.add_argument(
        "--trajectories", type=int, default=64, help="number of batches that the distilled flow learns from"
    )
    parser.add_argument(
        "--guidance", type=float, default=distil.GUIDANCE, help="guidance of the flow that is distilled"
    )
    arguments = parser.parse_args()
    for stage, minutes in arguments.stages:
        if stage in TRAINED_STAGES and minutes is None and arguments.steps is None:
            parser.error(f"{stage} needs a training time. Write {stage}=MINUTES or --steps.")
    return arguments


def _parse_stage(text: str) -> tuple[str, float | None]:
    name, _, minutes = text.partition("=")
    if name not in STAGES:
        raise argparse.ArgumentTypeError(f"Unknown stage {name!r}. Allowed: {', '.join(STAGES)}.")
    return name, float(minutes) if minutes else None


if __name__ == "__main__":
    main()
