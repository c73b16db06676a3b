"""`python -m jaxteach.report`: compares runs in curves, tables and films."""

from jaxteach.system.command import program_name, run_command


def main() -> None:
    from jaxteach.cli import parse
    from jaxteach.config import ReportConfig
    from jaxteach.distributed.compile_cache import use_cache
    from jaxteach.reports.command import report

    use_cache()
    report(parse(ReportConfig, program_name("report")))


if __name__ == "__main__":
    run_command(main)
