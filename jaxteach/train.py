"""`python -m jaxteach.train`: trains a student on a task."""

import sys
import time

from jaxteach.system.command import program_name, run_command


def main() -> None:
    started = time.perf_counter()
    from jaxteach.distributed.multihost import init_distributed

    init_distributed(sys.argv[1:])
    # Imported here so that wall times count the imports, as a user does, and after other processes are met.
    from jaxteach.cli import parse
    from jaxteach.config import TrainConfig, default_config
    from jaxteach.distributed.compile_cache import use_cache
    from jaxteach.training.loop import train

    use_cache()
    train(parse(TrainConfig, program_name("train"), defaults=default_config), started, sys.argv[1:])


if __name__ == "__main__":
    run_command(main)
