"""The command `python -m bench.gpu`: G1 to G7 on a GPU in two runs of minutes, or with `--small` on any machine."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers.utils import logging as diffusers_logging
from django.conf import settings

from bench import table
from bench.gpu import compile_cache, plans
from bench.gpu.contenders import Orders, Ours, Stock
from bench.gpu.context import Context
from bench.gpu.machine import Machine
from bench.gpu.models import SMALL, TRUE
from bench.gpu.report import FOLDER, Report, describe_machine
from bench.gpu.session import Session, say

MINUTES: Final = 9.0


def main(arguments: Sequence[str]) -> int:
    """Run what there is time for. Return 1 if there was an error; a missed figure is none."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--small", action="store_true", help="the small pipeline, to try the benchmarks themselves"
    )
    parser.add_argument("--plan", choices=plans.PLANS, default="all", help="which part of the measurements")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="begin nothing more after this time")
    parser.add_argument("--results", type=Path, default=FOLDER, help="the folder of the results files")
    parser.add_argument(
        "--compile-cache", type=Path, help="a folder with what an earlier run has compiled, if it has any"
    )
    parser.add_argument("--keep-compiled", type=Path, help="a folder for what this run compiles")
    options = parser.parse_args(arguments)
    ends_at = time.monotonic() + 60 * options.minutes
    if not settings.configured:
        settings.configure(USE_TZ=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stdout)
    diffusers_logging.set_verbosity_error()
    if options.compile_cache:
        say(f"{compile_cache.load(options.compile_cache)} bytes of compiled code")
    machine = Machine(torch.device(options.device))
    scale = SMALL if options.small else TRUE
    say("\n".join([f"{scale.name} on {machine.name}", *describe_machine()]))
    context = Context(
        machine=machine,
        scale=scale,
        orders=Orders(scale),
        stock=Stock(scale, machine),
        ours=Ours(scale, machine),
    )
    session = Session(context, Report(scale.name, machine.name, folder=options.results), ends_at=ends_at)
    plans.PLANS[options.plan](session, context)
    if options.keep_compiled:
        plans.save_compile_cache(session, options.keep_compiled)
    say("\n".join(["", *table.format_lines(session.outcomes), *session.errors]))
    return 1 if session.errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
