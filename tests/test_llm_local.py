"""A real GGUF model decoded as a tree, against llama-cpp-python's own one-by-one calls."""

import itertools

import llama_cpp
import numpy as np
import pytest

from jaxteach.config import LLMConfig
from jaxteach.errors import UserError
from jaxteach.llm.backends import open_local
from jaxteach.llm.client import Question
from jaxteach.llm.grammar import candidate_plans, plan_grammar
from jaxteach.llm.grammar_mask import Grammar
from jaxteach.llm.llama_cpp_client import LocalClient
from jaxteach.llm.noise import GumbelNoise
from jaxteach.llm.parse import answer_text, parse_answer
from jaxteach.llm.tree_decoding import Choices, Model, shared_start
from jaxteach.options.markers import check_values
from jaxteach.teacher.tasks.doorkey_captions import Captions
from tests.language_model import MODEL, write_model, write_sentencepiece

OBJECTS = ["key", "door"]
WORDS = Captions(num_keys=1, num_doors=1, colored=False)
GRAMMAR = plan_grammar(WORDS)
RULES = "You open doors with keys. Answer like this: Action: {go to <key>, pick up <key>}\n"
NOISE = 0.5
"""How far llama.cpp's own logits are apart, evaluated in one batch or token by token."""
PROMPTS = [
    RULES + caption for caption in ("Agent sees <key>.", "Agent sees <door>.", "Agent sees <nothing>, holds <key>.")
]


def client(temperature=0.0, max_tokens=12, grammar=None, parallel=16, context=2048, seed=0):
    return LocalClient(MODEL, temperature, max_tokens, seed, grammar, parallel, context, threads=1)


def answers(asked, prompts=PROMPTS, samples=1):
    questions = [Question(prompt, sample) for prompt in prompts for sample in range(samples)]
    found = dict(asked.ask(questions))
    assert found.keys() == set(questions)
    return [found[question] for question in questions]


@pytest.fixture(scope="module")
def llama():
    """llama-cpp-python's own high-level model, the oracle."""
    return llama_cpp.Llama(str(MODEL), n_ctx=1024, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)


def completion(llama, prompt, max_tokens):
    response = llama.create_chat_completion(
        [{"role": "user", "content": prompt}], temperature=0.0, max_tokens=max_tokens, repeat_penalty=1.0
    )
    return response["choices"][0]["message"]["content"]


def test_the_likeliest_answers_are_those_of_single_calls(llama):
    """Catches a wrong position, a sequence that misses a part of its prompt, or another chat template."""
    expected = [completion(llama, prompt, 12) for prompt in PROMPTS]
    assert len(set(expected)) > 1, "the prompts must tell apart"
    assert answers(client()) == expected


@pytest.fixture(scope="module")
def finer_model(tmp_path_factory):
    """Another GGUF file: the model with weights of eight bits, which other programs of llama.cpp multiply."""
    path = tmp_path_factory.mktemp("model") / "finer.gguf"
    write_model(path, llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("finer", [False, True])
def test_every_token_is_the_likeliest_one_of_a_single_sequence(finer, request):
    """Catches a cell of another sequence that is attended to, and one that is missed, at any place of an answer."""
    path = request.getfixturevalue("finer_model") if finer else MODEL
    asked = LocalClient(path, 0.0, 32, 0, None, 16, 2048, threads=1)
    llama = llama_cpp.Llama(str(path), n_ctx=1024, n_threads=1, logits_all=True, verbose=False)
    compared, prompts = 0, [*PROMPTS, "Count from one to twenty in words.", "Name the months of the year."]
    for prompt, answer in zip(prompts, answers(asked, prompts)):
        start, tokens = asked.chat_tokens(prompt), llama.tokenize(answer.encode(), add_bos=False)
        llama.reset()
        llama.eval(start + tokens)
        for place, token in enumerate(tokens):
            logits = llama.scores[len(start) - 1 + place]
            second, first = np.sort(logits)[-2:]
            if first - second > NOISE:
                assert logits.argmax() == token
                compared += 1
    assert compared > 40


@pytest.mark.parametrize(("parallel", "context"), [(2, 2048), (3, 200), (16, 160)])
def test_narrow_limits_change_no_answer(parallel, context):
    """Answers wait for sequences and for room in the cache; none is lost or mixed up."""
    wide = answers(client(temperature=0.8, max_tokens=8), samples=3)
    narrow = answers(client(temperature=0.8, max_tokens=8, parallel=parallel, context=context), samples=3)
    assert len(set(wide)) > 3
    # A batch's size moves the last bits of the logits, which may tip a draw.
    assert sum(a == b for a, b in zip(wide, narrow)) >= 8


def test_answers_may_be_decoded_one_at_a_time():
    config = LLMConfig(model=str(MODEL), parallel=1, max_tokens=3, temperature=0.0, threads=1, context=512)
    check_values(config)
    assert all(answers(open_local(config, None)))


def test_draws_depend_on_seed_and_sample_alone():
    one, again, other = (answers(client(0.8, 8, seed=seed), samples=3) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert len(set(one[:3])) > 1


def test_likelihoods_are_those_of_single_evaluations(llama):
    asked = client()
    candidates = [answer_text(plan) for plan in candidate_plans(WORDS)[:12]]
    scores = asked.score(PROMPTS[:2], candidates)
    for i, j in ((0, 0), (0, 3), (1, 7), (1, 11)):
        prompt = asked.chat_tokens(PROMPTS[i])
        answer = llama.tokenize(candidates[j].encode(), add_bos=False)
        llama.reset()
        llama.eval(prompt + answer)
        logits = llama.scores[len(prompt) - 1 : len(prompt) - 1 + len(answer)].astype(np.float64)
        log_probs = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        log_probs -= logits.max(1, keepdims=True)
        expected = log_probs[np.arange(len(answer)), answer].sum()
        assert abs(scores[i, j] - expected) < NOISE + 0.3


def test_with_the_grammar_every_answer_is_a_plan():
    said = answers(client(1.5, 64, GRAMMAR), samples=4)
    plans = {parse_answer(answer, WORDS) for answer in said}
    assert len(plans) > 3


def test_the_grammar_allows_exactly_what_may_follow():
    model = client().model
    grammar = Grammar(model, GRAMMAR)

    pieces = set(model.pieces) - {b""}
    six = model.tokenize("Action: {" + ", ".join(["wait"] * 6), special=False, start=False)
    assert {model.pieces[token] for token in np.flatnonzero(grammar.allowed(six))} == {b"}"}
    skills = [
        "explore",
        "wait",
        *(f"{verb} <{name}>" for verb in ("go to", "pick up", "drop", "toggle") for name in OBJECTS),
    ]
    sentences = [
        f"Action: {{{', '.join(plan)}}}".encode() for n in (1, 2, 3) for plan in itertools.product(skills, repeat=n)
    ]
    for start in ("Action: {", "Action: {go to <", "Action: {explore"):
        tokens = model.tokenize(start, special=False, start=False)
        rests = {text[len(start) :] for text in sentences if text.startswith(start.encode())}
        beginnings = {rest[:length] for rest in rests for length in range(1, 30)}
        assert {model.pieces[token] for token in np.flatnonzero(grammar.allowed(tokens))} == pieces & beginnings


@pytest.mark.parametrize("grammar", ["root ::= [^é]+", "root ::= [^a-z鍵]+", 'root ::= ("é" | "ü") [a-z]'])
def test_tokens_are_allowed_as_llama_cpp_allows_them(grammar):
    """Catches letters of several bytes that are passed over with the first byte that they share with others."""
    model = client().model
    mask = Grammar(model, grammar)
    everything = mask._examine(mask._state([]), np.arange(model.num_tokens))
    everything &= mask._can_be_drawn
    np.testing.assert_array_equal(mask.allowed([]), everything)


def test_what_the_grammar_forces_is_split_as_the_tokenizer_does():
    model = client().model
    grammar = Grammar(model, GRAMMAR)
    assert grammar.forced([]) == model.tokenize("Action: {", special=False, start=False)
    assert grammar.forced(model.tokenize("Action: {", special=False, start=False)) == []
    go = model.tokenize("Action: {go", special=False, start=False)
    assert model.detokenize(grammar.forced(go)) == b" to <"


def test_forced_text_keeps_its_words_with_a_vocabulary_of_sentencepiece(tmp_path, monkeypatch):
    """Catches answers that are spelt letter by letter, since SentencePiece puts a blank before each text."""
    write_sentencepiece(tmp_path / "words.gguf", ["\u2581Action", "Action", "\u2581to"])
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    monkeypatch.setattr(llama_cpp, "llama_model_default_params", lambda: params)
    model = Model(str(tmp_path / "words.gguf"))
    grammar = Grammar(model, 'root ::= "Action: {" ("go to <key>" | "explore") "}"')
    assert [model.pieces[token] for token in grammar.forced([])] == [b"Action", b":", b" ", b"{"]
    letters = [grammar._byte_tokens[byte] for byte in b"Action: {go"]
    assert [model.pieces[token] for token in grammar.forced(letters)][:2] == [b" to", b" "]


def test_draws_follow_the_distribution():
    logits = np.array([0.0, 1.0, 2.0, 3.0, 9.0], np.float32)
    choices = Choices(logits, np.array([True, True, True, True, False]))
    draws = [choices.draw(0.5, GumbelNoise(sample), place) for sample in range(200) for place in range(200)]
    expected = np.exp(logits[:4] / 0.5) / np.exp(logits[:4] / 0.5).sum()
    np.testing.assert_allclose(np.bincount(draws, minlength=5) / len(draws), [*expected, 0], atol=0.007)
    assert choices.draw(0, GumbelNoise(), 0) == 3
    np.testing.assert_allclose(np.exp(choices.log_probs).sum(), 1, rtol=1e-6)


def test_the_shared_start_leaves_each_prompt_its_last_token():
    assert shared_start([[1, 2, 3], [1, 2, 4, 5]]) == 2
    assert shared_start([[1, 2, 3]]) == 2
    assert shared_start([[1, 2], [1, 2, 3]]) == 1
    assert shared_start([[2], [1]]) == 0


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match="give a larger --context, or fewer --max_tokens"):
        answers(client(context=64, max_tokens=60))


def test_unusable_model_files_are_told(tmp_path):
    with pytest.raises(UserError, match=r"can't read the model file .*none\.gguf: No such file"):
        LocalClient(tmp_path / "none.gguf", 0, 1, 0, None, 2, 64)
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(UserError, match="is not a GGUF file"):
        LocalClient(tmp_path / "text.gguf", 0, 1, 0, None, 2, 64)
    (tmp_path / "cut.gguf").write_bytes(MODEL.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"cut\.gguf can't be used"):
        answers(LocalClient(tmp_path / "cut.gguf", 0, 1, 0, None, 2, 64))


def test_the_identity_tells_models_apart(tmp_path):
    (tmp_path / MODEL.name).write_bytes(b"GGUF other")
    other = LocalClient(tmp_path / MODEL.name, 0.0, 12, 0, None, 16, 2048)
    assert other.identity["model_sha256"] != client().identity["model_sha256"]
    assert client().identity == client(parallel=4, context=512).identity
    assert client(temperature=1.0).identity != client().identity
