"""`python -m jaxteach.sweep`: trains the runs that a file describes, here or on a cluster."""

from jaxteach.system.command import program_name, run_command


def main() -> None:
    from jaxteach.cli import parse
    from jaxteach.config import SweepConfig
    from jaxteach.distributed.compile_cache import use_cache
    from jaxteach.sweeps.command import sweep

    use_cache()
    sweep(parse(SweepConfig, program_name("sweep")))


if __name__ == "__main__":
    run_command(main)
