"""The client that the options name; its packages are needed only when it is asked for."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from jaxteach.config import LLMConfig
from jaxteach.errors import UserError
from jaxteach.llm.client import Client, Scorer
from jaxteach.llm.constraints import Constraint, plan_constraint
from jaxteach.llm.grammar import plan_grammar
from jaxteach.llm.random_client import RandomClient
from jaxteach.teacher.domain import Vocabulary

if TYPE_CHECKING:
    from jaxteach.llm.llama_cpp_client import LocalClient
    from jaxteach.llm.openai_client import ServerClient
    from jaxteach.llm.server_requests import Requests


NO_OPENAI: Final = "--backend openai needs the package openai: pip install openai"


def open_client(config: LLMConfig, vocabulary: Vocabulary) -> Client:
    """The client of a backend.

    Args:
        config: the options.
        vocabulary: the words of plans.

    Raises:
        UserError: an option is missing, or the backend's package.
    """
    grammar = plan_grammar(vocabulary) if config.structured else None
    if config.backend == "random":
        return RandomClient(vocabulary, config.llm_seed)
    if config.backend == "llama-cpp":
        return open_local(config, grammar)
    _check_server(config)
    return open_server(config, None if grammar is None else plan_constraint(grammar, vocabulary))


def open_scorer(config: LLMConfig) -> Scorer:
    """What scores given answers; see `open_client`."""
    if config.backend == "llama-cpp":
        return open_local(config, None)
    _check_server(config)
    try:
        from jaxteach.llm.server_scoring import ServerScorer  # noqa: PLC0415  an optional package
    except ImportError:
        raise UserError(NO_OPENAI) from None
    return ServerScorer(_requests(config), _extra_body(config))


def open_server(config: LLMConfig, constraint: Constraint | None) -> "ServerClient":
    """The model behind a server, or, without an address, in batches; see `open_client`."""
    try:
        from jaxteach.llm.openai_client import Sampling, ServerClient  # noqa: PLC0415  an optional package
    except ImportError:
        raise UserError(NO_OPENAI) from None
    numbers = config.temperature, config.longest_answer, config.llm_seed, config.top_p
    sampling = Sampling(*numbers, config.reasoning_effort, _extra_body(config))
    return ServerClient(_requests(config), sampling, constraint)


def open_local(config: LLMConfig, grammar: str | None) -> "LocalClient":
    """The model in a GGUF file; see `open_client`."""
    if config.model is None:
        raise UserError("--backend llama-cpp needs --model, a GGUF file")
    try:
        from jaxteach.llm.llama_cpp_client import LocalClient  # noqa: PLC0415  an optional package
    except ImportError:
        raise UserError("--backend llama-cpp needs a compiler and a package: pip install llama-cpp-python") from None
    sampling = config.temperature, config.longest_answer, config.llm_seed, grammar
    # One sequence holds the prompts' common prefix.
    return LocalClient(config.model, *sampling, max(2, config.parallel), config.context, config.threads)


def _check_server(config: LLMConfig) -> None:
    if config.base_url is None or config.model is None:
        raise UserError("--backend openai needs --base_url, the server's address, and --model, its name for the model")


def _requests(config: LLMConfig) -> "Requests":
    """How the server of the options is reached."""
    from jaxteach.llm.server_requests import Requests  # noqa: PLC0415  an optional package

    headers = {name: str(value) for name, value in _json_object("--headers", config.headers).items()}
    limits = config.parallel, config.timeout, config.retries
    return Requests(config.base_url, str(config.model), *limits, config.api_key_env, headers)


def _extra_body(config: LLMConfig) -> dict[str, Any]:
    """The user's own fields of each request, whether answers are sampled or scored."""
    extra_body = _json_object("--extra_body", config.extra_body)
    ours = sorted({"messages", "model", "stream"} & set(extra_body))
    if ours:
        raise UserError(f"--extra_body can't have {ours[0]}, which is set for each request; leave it out")
    return extra_body


def _json_object(name: str, text: str | None) -> dict[str, Any]:
    """The object that an option has as JSON; empty where it is left out.

    Raises:
        UserError: it is not one.
    """
    try:
        return {} if text is None else msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise UserError(f'{name} must be a JSON object, such as {{"name": 1}}, not {str(text)[:60]}') from None
