import pytest

from octoroute_py.core.words import TaskType
from octoroute_py.features.tasks import LOOKED_AT, infer_task_type, shows_code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write code to sort a list", TaskType.CODE),
        ("which function of the state is this?", TaskType.CODE),
        ("Implement it.", TaskType.CODE),
        ("(programming)", TaskType.CODE),
        ("please DEBUG this", TaskType.CODE),
        ("x```y", TaskType.CODE),
        ("Analyze the market", TaskType.DEEP_ANALYSIS),
        ("an analysis, please", TaskType.DEEP_ANALYSIS),
        ("compare\ttea and coffee", TaskType.DEEP_ANALYSIS),
        ("evaluate: is it good", TaskType.DEEP_ANALYSIS),
        ("Write a story about a fox", TaskType.CREATIVE_WRITING),
        ("be creative!", TaskType.CREATIVE_WRITING),
        ("a poem", TaskType.CREATIVE_WRITING),
        ("some fiction", TaskType.CREATIVE_WRITING),
        ("summarize this", TaskType.DOCUMENT_SUMMARY),
        ("a summary", TaskType.DOCUMENT_SUMMARY),
        ("TLDR?", TaskType.DOCUMENT_SUMMARY),
        ("Hello!", TaskType.CASUAL_CHAT),
        ("hi", TaskType.CASUAL_CHAT),
        ("hi there", TaskType.CASUAL_CHAT),
        ("Hey, you", TaskType.CASUAL_CHAT),
        ("oh hey", TaskType.CASUAL_CHAT),
        ("How are you?", TaskType.CASUAL_CHAT),
        ("  how are things", TaskType.CASUAL_CHAT),
        ("they hey", TaskType.CASUAL_CHAT),
        ("What is the capital of France?", TaskType.QUESTION_ANSWER),
        ("", TaskType.QUESTION_ANSWER),
    ],
)
def test_a_word_standing_alone_tells_the_task(text: str, expected: TaskType) -> None:
    assert infer_task_type(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "Delhi is a city",
        "What they say",
        "this chip",
        "Who decoded the Enigma?",
        "the encoder",
        "malfunction of the heart",
        "functional medicine",
        "psychoanalysis",
        "incomparable",
        "poems_of_old",
        "poem_1",
        "1poem",
        "poemе",  # a Cyrillic letter is a letter
        "hié",
        "tell me how are rainbows made",
        "how area is measured",
        "Was ist die Hauptstadt?",
        "`` two back-ticks",
    ],
)
def test_a_word_inside_another_tells_nothing(text: str) -> None:
    assert infer_task_type(text) is TaskType.QUESTION_ANSWER


def test_a_word_is_found_after_an_occurrence_inside_another_word() -> None:
    assert infer_task_type("the decoder of the code") is TaskType.CODE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello, compare these functions: function", TaskType.CODE),
        ("hi, write a poem after an analysis", TaskType.DEEP_ANALYSIS),
        ("summary of a poem", TaskType.CREATIVE_WRITING),
        ("hey, a summary", TaskType.DOCUMENT_SUMMARY),
        ("how are you? ``` x", TaskType.CODE),
    ],
)
def test_the_first_group_wins(text: str, expected: TaskType) -> None:
    assert infer_task_type(text) is expected


def test_only_the_beginning_of_a_long_text_is_looked_at() -> None:
    assert infer_task_type("x " * (LOOKED_AT // 2 - 2) + "code") is TaskType.CODE
    assert infer_task_type("x " * (LOOKED_AT // 2) + "code") is TaskType.QUESTION_ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "```\nx\n```",
        "def main(args):",
        "class Fox:",
        "class Fox(Animal, object):",
        "class Fox {",
        "function go(x) {",
        "Traceback (most recent call last)",
        "#include <stdio.h>",
        "run();",
        "<b>fat</b>",
    ],
)
def test_code_is_seen(text: str) -> None:
    assert shows_code("look at this: " + text)


@pytest.mark.parametrize("text", ["", "write code for me", "def leppard (band)", "a < b", "first class (or second)"])
def test_words_about_code_are_not_code(text: str) -> None:
    assert not shows_code(text)


def test_a_long_text_is_judged_by_its_beginning_and_its_end() -> None:
    long = "lorem ipsum dolor " * 700
    assert infer_task_type("Please summarize this: " + long) is TaskType.DOCUMENT_SUMMARY
    assert infer_task_type(long + "Please summarize this.") is TaskType.DOCUMENT_SUMMARY
    assert infer_task_type(long[:6000] + " summarize " + long[6000:]) is TaskType.QUESTION_ANSWER
    assert infer_task_type("x" * 2047 + "hi" + "y" * 4000) is TaskType.QUESTION_ANSWER
