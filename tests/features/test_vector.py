"""The compiled featuriser is the reference, on any text; what it looks at is bounded."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from octoroute_py.features import reference
from octoroute_py.features.layout import (
    CONTEXT_CHARS,
    CONTEXT_TOKENS,
    COUNTS,
    HEAD_CHARS,
    MOST_TOKENS,
    SCALARS,
    TAIL_CHARS,
    Count,
)
from octoroute_py.features.lexicon import BUCKETS, SLOTS, WORD_CLASSES, fnv1a, word_slots
from octoroute_py.features.vector import Prompt, Vectoriser

AWKWARD = "aZ ABJ.):?\n\t0123,._-$\\é É×÷ªµ Σσς ЁЯя ṩ‰\u2028\u3000\ufeff中文ひ한😀±İıßſKÅ not what Def"


@pytest.fixture(scope="module")
def vectoriser() -> Vectoriser:
    made = Vectoriser()
    made.warm()
    return made


def expected(prompt: Prompt) -> tuple[list[int], np.ndarray]:
    text = prompt.text.encode("utf-8", "replace").decode()
    context = prompt.context[-CONTEXT_CHARS:].encode("utf-8", "replace").decode()
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        text = f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    buckets, counts = reference.tokens(text, context)
    sizes = (len(prompt.text), len(prompt.context), prompt.turns, prompt.tools, prompt.images, prompt.system_chars)
    return buckets, np.array(reference.scalars(counts, sizes), dtype=np.float32)


def assert_equal(vectoriser: Vectoriser, prompt: Prompt) -> None:
    vector = vectoriser.read(prompt)
    buckets, scalars = expected(prompt)
    assert vector.tokens.tolist() == buckets
    np.testing.assert_allclose(vector.scalars, scalars, rtol=1e-6, atol=1e-7)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=400) | st.text(AWKWARD, max_size=900), st.text(AWKWARD, max_size=300) | st.text(max_size=60))
@example("", "")
@example("\ud800 half a pair", "\udfff")
@example("A. one\nB) two\n J: three\nK. none\n  C. four", "")
@example("1,234.5.6. 7,", "8.")
@example("ÀÖ×ØÞ ΑΡΣΩ ЀЏАЯ", "what")
def test_the_compiled_featuriser_equals_the_reference(vectoriser: Vectoriser, text: str, context: str) -> None:
    assert_equal(vectoriser, Prompt(text, context=context, turns=3, tools=2, images=1, system_chars=99))


@settings(max_examples=15, deadline=None)
@given(st.text(AWKWARD, min_size=2_000, max_size=4_000), st.integers(1, 4))
def test_long_texts_equal_the_reference_too(vectoriser: Vectoriser, text: str, times: int) -> None:
    assert_equal(vectoriser, Prompt(text * times))


def test_of_a_long_text_only_the_ends_count(vectoriser: Vectoriser) -> None:
    head, tail = "begin " * 700, " end." * 500
    one = vectoriser.read(Prompt(head + "x" * 100_000 + tail))
    tokens, scalars = one.tokens.copy(), one.scalars.copy()
    other = vectoriser.read(Prompt(head + "中" * 100_000 + tail))
    assert other.tokens.tolist() == tokens.tolist()
    assert other.scalars.tolist() == scalars.tolist()
    assert len(tokens) == MOST_TOKENS


def test_of_many_tokens_the_first_and_the_last_are_kept(vectoriser: Vectoriser) -> None:
    words = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(400)]
    own = [reference.walk(word)[0] for word in words]
    kept = vectoriser.read(Prompt(" ".join(words))).tokens.tolist()
    assert kept == [bucket for buckets in own[:160] + own[-96:] for bucket in buckets]


def test_a_short_turn_leans_on_what_was_said_before(vectoriser: Vectoriser) -> None:
    before = " ".join(["integral"] * 200)
    alone = len(vectoriser.read(Prompt("and why?")).tokens)
    assert len(vectoriser.read(Prompt("and why?", context=before)).tokens) == alone + CONTEXT_TOKENS
    long = " ".join(["word"] * 100)
    assert len(vectoriser.read(Prompt(long, context=before)).tokens) == 100


def test_case_is_folded_and_numbers_are_known_by_their_shape(vectoriser: Vectoriser) -> None:
    def tokens(text: str) -> list[int]:
        found: list[int] = vectoriser.read(Prompt(text)).tokens.tolist()
        return found

    assert tokens("What ÉTÉ ΩΜΕΓΑ ЖЁ") == tokens("what été ωμεγα жё")
    assert tokens("3,141.59") == tokens("9,276.10") != tokens("314.59")
    assert tokens("------") == tokens("-")
    assert tokens("中文") == tokens("中") + tokens("文")


def test_scalars_tell_what_stands_around_the_prompt(vectoriser: Vectoriser) -> None:
    vector = vectoriser.read(Prompt("A. x\nB. y?", turns=4, tools=3, images=2, system_chars=50))
    names = dict(zip(SCALARS, vector.scalars.tolist(), strict=True))
    assert names["log_choices"] == pytest.approx(np.log1p(2))
    assert names["ends_asking"] == 1.0
    assert names["log_turns"] == pytest.approx(np.log1p(3))
    assert names["log_tools"] == pytest.approx(np.log1p(3))
    assert names["log_images"] == pytest.approx(np.log1p(2))
    assert names["log_around_chars"] == pytest.approx(np.log1p(50))


def test_scalars_tell_how_a_question_is_built(vectoriser: Vectoriser) -> None:
    text = "The FAO has what?\nA. a long choice, really\nB. this one\nIncomprehensibility:"
    names = dict(zip(SCALARS, vectoriser.read(Prompt(text)).scalars.tolist(), strict=True))
    assert names["log_stem_words"] == pytest.approx(np.log1p(4))
    assert names["log_shortest_choice"] == pytest.approx(np.log1p(len(". this one")))
    assert names["shouted_share"] == pytest.approx(1 / 13)
    assert names["long_word_share"] == pytest.approx(1 / 13)
    assert names["distinct_share"] == pytest.approx(16 / 18)
    assert (names["ends_with_colon"], names["ends_asking"]) == (1.0, 0.0)


def test_many_prompts_are_the_single_ones_beside_each_other(vectoriser: Vectoriser) -> None:
    prompts = [Prompt("one two"), Prompt(""), Prompt("three")]
    matrix = vectoriser.read_all(prompts)
    assert matrix.offsets.tolist() == [0, 2, 2, 3]
    for place, prompt in enumerate(prompts):
        vector = vectoriser.read(prompt)
        assert matrix.tokens[matrix.offsets[place] : matrix.offsets[place + 1]].tolist() == vector.tokens.tolist()
        assert matrix.scalars[place].tolist() == vector.scalars.tolist()


def test_the_tables_of_words_hold_every_word_once() -> None:
    words = [word for group in WORD_CLASSES for word in group]
    hashes, groups = word_slots()
    assert len(set(words)) == len(words)
    assert len([value for value in hashes if value]) == len({fnv1a(word.encode()) for word in words}) == len(words)
    assert len(words) < SLOTS // 2
    assert {groups[slot] for slot, value in enumerate(hashes) if value} == set(range(len(WORD_CLASSES)))
    assert len(SCALARS) == 32
    assert len(WORD_CLASSES) == COUNTS - Count.WORD_GROUP == 10
    assert BUCKETS == 16_384
