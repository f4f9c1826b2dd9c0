"""Markdown tables of the attributes that a classifier recognises in a model's pictures."""

import argparse
from pathlib import Path

import torch

from demo_model.config import SIZES
from demo_model.evaluation.table import build_tables
from demo_model.train.run import TrainingRun


def main() -> None:
    """Parse the arguments, and print the tables.

    `python -m demo_model.train classifier=MINUTES` must have trained the classifier.
    """
    parser = argparse.ArgumentParser(prog="python -m demo_model.evaluation", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("var/demo_model"), help="folder of the checkpoints"
    )
    parser.add_argument(
        "--weights", type=Path, default=Path("var/models/demo"), help="folder of the model to evaluate"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="number of torch threads on a CPU")
    parser.add_argument("--sizes", choices=SIZES, default="whole")
    parser.add_argument("--prompts", type=int, default=200, help="number of held-out prompts")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--height", type=int, default=1024)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    run = TrainingRun(
        folder=arguments.folder, device=torch.device(arguments.device), sizes=SIZES[arguments.sizes]
    )
    print(
        build_tables(
            run, weights=arguments.weights, count=arguments.prompts, size=(arguments.width, arguments.height)
        )
    )


if __name__ == "__main__":
    main()
