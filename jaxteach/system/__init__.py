"""The process and its machine: Ctrl-C, memory, cores, plug-ins."""
