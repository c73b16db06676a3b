"""Ctrl-C: it ends a command at once, whatever is being computed, with a word on what is kept."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_S: Final = 0.8
"""How long the last words may take, including a checkpoint that is just being written."""
INTERRUPTED: Final = 130
"""The exit code of a command that was ended by Ctrl-C."""

_last_words: list[Callable[[], str]] = []


@contextmanager
def on_interrupt(say: Callable[[], str]) -> Iterator[None]:
    """What follows "stopped" if Ctrl-C ends the command inside the block; `say` is called in another thread."""
    _last_words.append(say)
    try:
        yield
    finally:
        _last_words.remove(say)


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Lets Ctrl-C end the process inside the block, with exit code 130.

    Python itself would wait until the present call, such as a compiled loop, comes to its end. So
    another thread is notified of the signal. Nothing is cleaned up: all files of a command must be
    such that it may be killed at any moment.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # The signal is handled elsewhere, or ignored.
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    descriptor = signal.set_wakeup_fd(sender.fileno())
    signal.signal(signal.SIGINT, lambda *_: None)
    watcher = threading.Thread(target=_wait_for_signal, args=[receiver], daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(descriptor)
        sender.close()
        watcher.join()
        receiver.close()


def _wait_for_signal(receiver: socket.socket) -> None:
    while numbers := receiver.recv(64):
        if signal.SIGINT in numbers:
            # What is said may wait for a disk or for a reader; the end must not.
            speaker = threading.Thread(target=_say_last_words, daemon=True)
            speaker.start()
            speaker.join(PATIENCE_S)
            os._exit(INTERRUPTED)


def _say_last_words() -> None:
    shown = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # A live line hides the cursor.
    print(f"{shown}stopped{''.join(say() for say in reversed(_last_words))}", file=sys.stderr, flush=True)
    sys.stdout.flush()
