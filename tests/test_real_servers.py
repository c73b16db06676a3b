"""The server's client against real servers of the small model, which must answer as the model in this process does."""

import json
from importlib.util import find_spec

import llama_cpp
import numpy as np
import pytest

from jaxteach.llm import query
from jaxteach.llm.client import Question
from jaxteach.llm.constraints import plan_constraint
from jaxteach.llm.grammar import candidate_plans, plan_grammar
from jaxteach.llm.llama_cpp_client import LocalClient
from jaxteach.llm.openai_client import Sampling, ServerClient
from jaxteach.llm.parse import answer_text
from jaxteach.llm.prompts import task_prompt
from jaxteach.llm.server_requests import Requests
from jaxteach.llm.server_scoring import ServerScorer
from jaxteach.teacher.plans import load_plans
from jaxteach.teacher.tasks.doorkey_captions import Captions
from tests.command_line import teach
from tests.language_model import write_model
from tests.real_servers import exact_context_params, free_port, llama_cpp_server, llama_server

pytestmark = pytest.mark.slow

WORDS = Captions(num_keys=1, num_doors=1, colored=False)
GRAMMAR = plan_grammar(WORDS)
PROMPTS = [task_prompt("SimpleDoorKey", WORDS).about(text) for text in WORDS.texts[:3]]
QUESTIONS = [Question(prompt, 0) for prompt in PROMPTS]
LLAMA_SERVER = pytest.param(
    llama_server,
    marks=pytest.mark.skipif(
        find_spec("xllamacpp") is None, reason="llama.cpp's own server is NOT TESTED: install xllamacpp (extra dev)"
    ),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "exact.gguf"
    # Quantized, the model's likelihoods depend by up to 0.8 on how tokens are batched.
    write_model(path, llama_cpp.LLAMA_FTYPE_ALL_F32)
    yield path
    path.unlink()


@pytest.fixture(scope="module", params=[llama_cpp_server, LLAMA_SERVER], ids=lambda serve: serve.__name__)
def url(request, model):
    port = free_port()
    with request.param(port, model, exact=True):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def local(model, monkeypatch):
    """Makes clients of the same model in this process."""
    monkeypatch.setattr("llama_cpp.llama_context_default_params", exact_context_params)
    return lambda grammar=None, max_tokens=30: LocalClient(model, 0.0, max_tokens, 0, grammar, 8, 4096, threads=1)


def served(url, temperature=0.0, max_tokens=30, constraint=None):
    return ServerClient(Requests(url, "m", 2, 120.0, 1), Sampling(temperature, max_tokens, 0), constraint)


def test_the_likeliest_answers_are_those_of_the_model_in_this_process(url, local):
    """Catches a server's own penalties: llama_cpp.server's repeat_penalty of 1.1 changes each of these answers."""
    assert dict(served(url).ask(QUESTIONS)) == dict(local().ask(QUESTIONS))


def test_constrained_answers_are_those_of_the_model_in_this_process(url, local):
    client = served(url, constraint=plan_constraint(GRAMMAR, WORDS))
    assert client.form == "grammar"
    answers = dict(client.ask(QUESTIONS))
    assert answers == dict(local(GRAMMAR).ask(QUESTIONS))
    assert all(answer.startswith("Action: {") for answer in answers.values())


def test_scores_are_those_of_the_model_in_this_process(url, local, request):
    candidates = [answer_text(plan) for plan in candidate_plans(WORDS)[8:12]]
    scores = ServerScorer(Requests(url, "m", 2, 120.0, 1), {}).score(PROMPTS[:2], candidates)
    # llama-server adds up the probabilities of 49,152 tokens in float32, for each of some 15 tokens of an answer.
    atol = 5e-3 if "llama_server" in request.node.name else 1e-3
    np.testing.assert_allclose(scores, local().score(PROMPTS[:2], candidates), atol=atol, rtol=0)
    assert np.ptp(scores) > 1


def test_an_answer_that_is_too_long_is_cut_off(url):
    (answer,) = dict(served(url, max_tokens=4).ask(QUESTIONS[:1])).values()
    assert answer.finish == "length"
    assert answer.usage["completion_tokens"] == 4
    assert answer.served


def test_samples_are_different_draws(url):
    """llama-server gives all of them in one response; llama_cpp.server ignores n."""
    client = served(url, temperature=1.5, max_tokens=6)
    answers = dict(client.ask([Question(PROMPTS[0], sample) for sample in range(4)]))
    assert len(answers) == len(set(answers.values())) == 4
    assert client.request_stats()["requests"] in (1, 4)
    assert client.refused_fields == []


def test_the_command_makes_plans_and_scores(url, monkeypatch, tmp_path):
    where = ["--task", "SimpleDoorKey", "--backend", "openai", "--base_url", url, "--model", "m", "--timeout", 120]
    plans, scores = tmp_path / "plans.json", tmp_path / "scores.json"
    teach(monkeypatch, *where, "--structured", "--samples", 2, "--max_tokens", 60, "--parallel", 2, "--out", plans)
    facts = load_plans(plans, "SimpleDoorKey").provenance
    assert (facts["structured"], facts["rejected"], facts["answers_from_cache"]) == ("grammar", 0, 0)
    assert facts["requests"] in (1 + 6, 1 + 12)
    assert facts["prompt_tokens"] > 0
    assert facts["seconds_asking"] > 0
    assert facts["served"]

    monkeypatch.setattr(query, "candidate_plans", lambda vocabulary: candidate_plans(vocabulary)[:2])
    teach(monkeypatch, *where, "--score", "--parallel", 2, "--out", scores)
    entries = load_plans(scores, "SimpleDoorKey").captions
    assert all(sum(plan.probability for plan in entry.plans) == pytest.approx(1) for entry in entries)
    assert len(entries) == 6
    assert json.loads(scores.read_text())["provenance"]["base_url"] == url
