"""`python -m jaxteach.teach`: asks a language model about every caption of a task, and writes a plan file."""

from jaxteach.system.command import program_name, run_command


def main() -> None:
    from jaxteach.cli import parse
    from jaxteach.config import TeachConfig
    from jaxteach.distributed.compile_cache import use_cache
    from jaxteach.llm.command import export, show, teach

    use_cache()
    config = parse(TeachConfig, program_name("teach"))
    config.check()
    if config.show is not None:
        show(config, config.show)
    elif config.export_batch is not None:
        export(config, config.export_batch)
    elif config.out is not None:
        teach(config, config.out)


if __name__ == "__main__":
    run_command(main)
