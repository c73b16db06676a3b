"""`python -m jaxteach.teach`: makes plan files from a language model's answers, and tells what is in them."""

from jaxteach.system.command import program_name, run_command


def main() -> None:
    from jaxteach.cli import parse
    from jaxteach.config import TeachConfig
    from jaxteach.distributed.compile_cache import use_cache
    from jaxteach.llm.command import export, teach
    from jaxteach.llm.show import show

    use_cache()
    config = parse(TeachConfig, program_name("teach"))
    config.check()
    if config.show is not None:
        show(config, config.show)
    elif config.card is not None:
        from jaxteach.reports.card_command import write_card

        write_card(config, config.card)
    elif config.export_batch is not None:
        export(config, config.export_batch)
    elif config.out is not None:
        teach(config, config.out)


if __name__ == "__main__":
    run_command(main)
