"""
One thing has one name: words that were retired stay out of names, file names, messages and pages.

Each pattern is matched against plain words: identifiers are split at underscores and capitals. Words that also have a
legitimate sense are left out, matched together with their neighbors, or retired in names only.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from io import StringIO
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "airflow_provider_crux"
FOLDERS = (PACKAGE, "tests", "benchmarks", "scripts", "dags_examples")
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "tests/faults/*.template")
    for page in ROOT.glob(pattern)
)

EVERYWHERE = {
    "asked at": "requested_at",
    "asked for": "requested",
    "doing": "action",
    "repeatable": "idempotent",
    "repetitions?": "retry policy, retries",
    "worth repeating": "should_retry",
    "verdicts?": "result",
    "remarks?": "warning",
    "resumption": "durable",
    "failing at once": "fail_without_retry",
    "telltales?": "canary",
    "journals?": "request log",
    "lapse[sd]?|lapsing": "expire",
    "anew": "again",
    "borne": "tolerated",
    "mend(s|ed|ing)?": "fix",
    "malformed (answer|response)": "invalid response",
    "bad credentials": "authentication",
    "throttled": "rate limit",
    "request refused": "request rejected",
    "export window": "export_interval",
    "lost sight": "trigger_poll_error",
    "written whole": "atomic_write",
    "drips?|dripping": "is incomplete, is slow",
    "judge[sd]?|judging": "evaluate, validate",
}
"""Retired words and their successors."""

IN_NAMES = {
    "ask|asks|asked|asking": "request, send, submit",
    "look|looks|looked|looking": "poll, get",
    "answers?|answered": "response, respond",
    "told|said": "a noun, for example problems or message",
    "windows?": "interval",
    "not before": "first_poll_at",
    "^(found|seen|judged)$": "a noun for what it holds",
}
"""Words that are retired in names only, because prose uses some of them in another sense."""

IN_TEXT = {
    "ask(s|ing)? for (an?|another|the)( new)? export": "request",
    # the table is the one thing that holds each order once
    "(every|each) order once(?!, in its latest state)": "every line item once, or every order of the interval",
    "(a|each|every|first|last|next|one) looks?": "poll",
    "looks? at (an|the|its) export": "poll",
    r"answer(s|ed)? (with )?(HTTP )?\d{3}": "returned HTTP",
    r"(?<!by\s)hand(s|ed|ing)? ([\w'-]+ ){0,3}on(?! the other)": "return, pass",
    "vouch(es|ed)? for": "self-signed, trusted",
    "at work just now": "temporarily unavailable",
    "where nothing": "if nothing",
    "gone by": "past",
    "stands": "is",
    "clear text": "unencrypted",
    ":returns:": ":return:",
}
"""Phrases that are retired in prose and messages."""


Words = tuple[tuple[re.Pattern[str], str], ...]
"""Patterns, with the successor of each."""


def compile_words(*tables: dict[str, str]) -> Words:
    """Return each pattern, bound to whole words that may be on two lines, with its successor."""
    return tuple(
        (re.compile(rf"(?<!\w)(?:{pattern.replace(' ', chr(92) + 's+')})(?!\w)", re.IGNORECASE), successor)
        for table in tables
        for pattern, successor in table.items()
    )


NAME_WORDS = compile_words(EVERYWHERE, IN_NAMES)
TEXT_WORDS = compile_words(EVERYWHERE, IN_TEXT)


def plain_words(text: str) -> str:
    """Split identifiers into words; lines stay where they are."""
    return re.sub(r"(?<=\w)_+(?=\w)|(?<=[a-z0-9])(?=[A-Z])", " ", text)


def retired_words(texts: Iterable[tuple[int, str]], patterns: Words, where: str) -> Iterator[str]:
    """Yield where each retired word is, and what replaces it; ``texts`` are pairs of first line and text."""
    for first_line, text in texts:
        for line, problem in _retired_in(text, patterns):
            yield f"{where}:{first_line + line}: {problem}"


@cache  # because many files have the same names
def _retired_in(text: str, patterns: Words) -> list[tuple[int, str]]:
    words = plain_words(text)
    return [
        (words.count("\n", 0, match.start()), f"{' '.join(match[0].split())!r} is retired; use: {successor}")
        for pattern, successor in patterns
        for match in pattern.finditer(words)
    ]


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of every identifier."""
    known = set()
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.NAME and token.string not in known:
            known.add(token.string)
            yield token.start[0], token.string


def texts_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of every docstring, other string and comment."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def retired_names(path: Path, root: Path = ROOT) -> list[str]:
    """Return the problems of a module's names, its own among them."""
    where, source = str(path.relative_to(root)), path.read_text()
    names = chain([(1, where.removesuffix(".py"))], names_in(source))
    return list(retired_words(names, NAME_WORDS, where))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_name_in_the_code_is_retired(folder: str) -> None:
    problems = [problem for path in sorted((ROOT / folder).rglob("*.py")) for problem in retired_names(path)]
    assert problems == [], "\n".join(problems)


def test_no_message_docstring_or_comment_of_the_package_uses_a_retired_word() -> None:
    problems = [
        problem
        for path in sorted((ROOT / PACKAGE).rglob("*.py"))
        for problem in retired_words(texts_in(path.read_text()), TEXT_WORDS, str(path.relative_to(ROOT)))
    ]
    assert problems == [], "\n".join(problems)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_uses_a_retired_word(page: Path) -> None:
    problems = list(retired_words([(1, page.read_text())], TEXT_WORDS, str(page.relative_to(ROOT))))
    assert problems == [], "\n".join(problems)


def test_there_is_something_to_check() -> None:
    for folder in FOLDERS:
        assert list((ROOT / folder).rglob("*.py")), folder
    names = {page.name for page in PAGES}
    assert names >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "reference.md", "faults.md"}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1\nasked_at = 2", "a.py:2: 'asked at' is retired; use: requested_at"),
        ("class AskedFor: ...", "a.py:1: 'Asked For' is retired; use: requested"),
        ("hook.look(uuid)", "a.py:1: 'look' is retired; use: poll, get"),
        ("ApiRequest(doing='log in')", "a.py:1: 'doing' is retired; use: action"),
        ("def worth_repeating(): ...", "a.py:1: 'worth repeating' is retired; use: should_retry"),
        ("raise CruxUrlLapsedError", "a.py:1: 'Lapsed' is retired; use: expire"),
        ("import telltale_sandbox", "a.py:1: 'telltale' is retired; use: canary"),
        ("found = []", "a.py:1: 'found' is retired; use: a noun for what it holds"),
    ],
)
def test_a_retired_name_is_reported_with_its_line_and_its_successor(source: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(source)
    assert problem in retired_names(tmp_path / "a.py", tmp_path)


def test_a_retired_file_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox/journal.py").touch()
    (problem,) = retired_names(tmp_path / "sandbox/journal.py", tmp_path)
    assert problem == "sandbox/journal.py:1: 'journal' is retired; use: request log"


@pytest.mark.parametrize(
    ("text", "retired"),
    [
        ("One line.\n\nThe export that was asked\nfor is done.", "a.md:3: 'asked for'"),
        ("Read the XCom `export_window`.", "a.md:1: 'export window'"),
        ("A passing failure is borne.", "a.md:1: 'borne'"),
        ("Raises `CruxMalformedAnswerError`.", "a.md:1: 'Malformed Answer'"),
        ("Crux Connect answered 503.", "a.md:1: 'answered 503'"),
        ("The tasks hand its UUID on.", "a.md:1: 'hand its UUID on'"),
        ("A certificate that nobody vouches for.", "a.md:1: 'vouches for'"),
        (":returns: nothing", "a.md:1: ':returns:'"),
        ("Where nothing is found, it fails.", "a.md:1: 'Where nothing'"),
    ],
)
def test_a_retired_phrase_is_reported_wherever_it_is_broken_or_joined(text: str, retired: str) -> None:
    (problem,) = retired_words([(1, text)], TEXT_WORDS, "a.md")
    assert problem.startswith(f"{retired} is retired; use: ")


@pytest.mark.parametrize(
    "text",
    [
        "`lookback` is the length of the interval.",
        "A body that looks like the complete file.",
        "Ask Crux Connect for the permission.",
        "Airflow's UI asks for a connection.",
        "HTTP 404: not found. The maintenance window. :return: the UUID.",
        "On the other hand, on Airflow 2 the handler stops.",
    ],
)
def test_a_word_in_its_legitimate_sense_is_not_reported(text: str) -> None:
    assert list(retired_words([(1, text)], TEXT_WORDS, "a.md")) == []


@pytest.mark.parametrize("name", ["lookback", "NOT_FOUND_GRACE", "task_instance", "is_not_found", "returned_rows"])
def test_a_name_in_the_vocabulary_is_not_reported(name: str) -> None:
    assert list(retired_words([(1, name)], NAME_WORDS, "a.py")) == []
