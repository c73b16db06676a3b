"""`python -m jaxteach.eval`: plays episodes with a trained student, or with the teacher itself."""

from jaxteach.system.command import program_name, run_command


def main() -> None:
    from jaxteach.cli import OF_TRAINING, parse
    from jaxteach.config import EvalConfig
    from jaxteach.distributed.compile_cache import use_cache
    from jaxteach.evaluation.command import evaluate

    use_cache()
    evaluate(parse(EvalConfig, program_name("eval"), aside=OF_TRAINING))


if __name__ == "__main__":
    run_command(main)
