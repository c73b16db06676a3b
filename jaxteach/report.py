"""`python -m jaxteach.report`: learning curves and a table of runs."""

from jaxteach.errors import run_command


def main() -> None:
    from jaxteach.cli import parse
    from jaxteach.config import ReportConfig
    from jaxteach.reporting import report

    report(parse(ReportConfig, "python -m jaxteach.report"))


if __name__ == "__main__":
    run_command(main)
