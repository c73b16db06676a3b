"""Real servers of the small model on loopback: llama-cpp-python's, and llama.cpp's own as `xllamacpp` has it."""

import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import llama_cpp

from tests.language_model import MODEL

LLAMA_SERVER = """
import sys, time
import xllamacpp

model, port, exact = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.port = model, int(port)
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 4096, 4, 1
if exact == "True":
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def llama_cpp_server(port, model=MODEL, exact=False):
    """llama-cpp-python's OpenAI-compatible server, in a process."""
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--n_ctx", "1024", "--n_threads", "1", "--n_threads_batch", "1"]
    with _running([*command, "--type_k", "0", "--type_v", "0"] if exact else command, port) as process:
        yield process


@contextmanager
def llama_server(port, model=MODEL, exact=False):
    """llama.cpp's own server, in a process."""
    with _running([sys.executable, "-c", LLAMA_SERVER, str(model), str(port), str(exact)], port) as process:
        yield process


@contextmanager
def _running(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def exact_context_params(original=llama_cpp.llama_context_default_params):
    """llama.cpp's own parameters, but for a cache in float32."""
    params = original()
    params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return params
