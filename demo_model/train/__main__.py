"""`python -m demo_model.train STAGE[=MINUTES] ...`: trains stage after stage, or writes or reopens a folder."""

import argparse
from pathlib import Path

import torch

from demo_model.config import PLANS, SIZES
from demo_model.evaluation import classifier
from demo_model.train import autoencoder, dataset, distil, export, flow, text
from demo_model.train.run import POOL_SEEDS, Studio
from demo_model.train.trainer import Sitting

FOLDER = Path("var/demo_model")
TRAINED = ("decoder", "text", "judge", "transformer", "distil")
# In these the learning rate falls to zero, so that each of their sittings ends with something finished.
DECAYING = ("decoder", "judge", "distil")
STAGES = ("encoder", *TRAINED, "paint", "encode", "export", "reopen")


def main() -> None:
    """Parses, and calls the stages."""
    asked = _arguments()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    studio = Studio(
        folder=asked.folder,
        device=torch.device(asked.device),
        sizes=SIZES[asked.sizes],
        compiles=asked.compile,
    )
    for stage, minutes in asked.stages:
        sitting = Sitting(
            minutes=minutes,
            steps=asked.steps,
            decay=asked.decay or stage in DECAYING,
            report_seconds=asked.report_seconds,
        )
        _sit(asked, stage, studio, sitting)


def _sit(asked: argparse.Namespace, stage: str, studio: Studio, sitting: Sitting) -> None:
    match stage:
        case "encoder":
            autoencoder.begin(studio)
        case "decoder":
            autoencoder.train(
                studio,
                sitting,
                sides=asked.sides,
                crop=asked.crop,
                batch=asked.batch,
                picture_count=asked.pictures,
            )
        case "text":
            text.train(studio, sitting)
        case "judge":
            classifier.train(studio, sitting, picture_count=asked.pictures, batch=asked.batch)
        case "paint" | "encode":
            fill = dataset.prepaint if stage == "paint" else dataset.fill
            fill(studio, plan=asked.plan, count=asked.orders, say=sitting.say, first_seed=asked.first_seed)
        case "transformer":
            flow.train(
                studio,
                sitting,
                plan=asked.plan,
                token_count=asked.tokens,
                rate=asked.rate,
                subject_weight=asked.subject_weight,
            )
        case "distil":
            distil.train(
                studio,
                sitting,
                plan=asked.plan,
                token_count=asked.tokens,
                walk_count=asked.walks,
                guidance=asked.guidance,
                subject_weight=asked.subject_weight,
            )
        case "export":
            byte_count = export.export(studio, asked.to)
            sitting.say(f"{asked.to}: {byte_count / 1e6:.1f} MB of weights")
        case "reopen":
            export.reopen(studio, asked.to)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo_model.train", description=__doc__)
    parser.add_argument("stages", nargs="+", type=_stage, metavar="STAGE[=MINUTES]", help=", ".join(STAGES))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where checkpoints are kept")
    parser.add_argument(
        "--to", type=Path, default=Path("var/models/demo"), help="where export writes, and reopen reads"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of torch, on a CPU")
    parser.add_argument("--sizes", choices=SIZES, default="whole")
    parser.add_argument("--compile", action="store_true", help="the networks: slow to begin, then faster")
    parser.add_argument("--steps", type=int, help="how many steps each stage trains at most")
    parser.add_argument(
        "--decay", action="store_true", help="let every learning rate fall to zero in this sitting"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=flow.RATE,
        help="at which the transformer learns; less for small batches",
    )
    parser.add_argument(
        "--subject-weight",
        type=float,
        default=1.0,
        help="how much more than others the transformer learns from tokens that show the subject",
    )
    parser.add_argument("--report-seconds", type=float, default=30.0)
    parser.add_argument(
        "--sides",
        type=int,
        nargs="+",
        default=autoencoder.BEGUN_FROM,
        help="of the pictures that the decoder learns from",
    )
    parser.add_argument("--crop", type=int, default=256, help="of which it sees squares of this side")
    parser.add_argument("--batch", type=int, default=64, help="of the autoencoder and of the judge")
    parser.add_argument("--pictures", type=int, default=4096, help="that these learn from")
    parser.add_argument("--plan", choices=PLANS, default="whole", help="which kinds of orders the pool has")
    parser.add_argument(
        "--orders", type=int, default=16_000, help="how many the pool has of all kinds together"
    )
    parser.add_argument("--first-seed", type=int, default=POOL_SEEDS, help="of what the pool shows")
    parser.add_argument("--tokens", type=int, default=65_536, help="how many a batch of the transformer has")
    parser.add_argument("--walks", type=int, default=64, help="batches that the distilled flow learns from")
    parser.add_argument(
        "--guidance", type=float, default=distil.GUIDANCE, help="of the flow that is distilled"
    )
    asked = parser.parse_args()
    for stage, minutes in asked.stages:
        if stage in TRAINED and minutes is None and asked.steps is None:
            parser.error(f"say for how long: {stage}=MINUTES, or --steps")
    return asked


def _stage(text: str) -> tuple[str, float | None]:
    name, _, minutes = text.partition("=")
    if name not in STAGES:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(STAGES)}")
    return name, float(minutes) if minutes else None


if __name__ == "__main__":
    main()
