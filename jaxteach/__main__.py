"""`python -m jaxteach`: lists the commands, and runs the one that is named."""

from jaxteach.system.command import main

if __name__ == "__main__":
    main()
