"""`python -m jaxteach.sweep`: trains the runs that a file describes, here or on a cluster."""

from jaxteach.system.command import run_command


def main() -> None:
    from jaxteach.cli import parse
    from jaxteach.config import SweepConfig
    from jaxteach.distributed.compile_cache import use_cache
    from jaxteach.sweeps.command import sweep

    use_cache()
    sweep(parse(SweepConfig, "python -m jaxteach.sweep"))


if __name__ == "__main__":
    run_command(main)
