"""Built-in mappings of published corpora of code, by the column names of their hub repositories.

`infra_core.corpus.preset` says what a row function may do. Solutions that are bare programs come in a fence,
as models write them.
"""

import json
from collections.abc import Mapping
from typing import Any

from infra_core.corpus.preset import Drop, Preset, Raw, asserts, text_of

PYTHON3 = 3  # of CodeContests' languages
LOWEST_RATING, HIGHEST_RATING = 800, 3500  # of Codeforces problems, in steps of 100


def _leetcode(raw: Raw) -> dict[str, Any]:
    """Keep its own `check` as one assertion over the entry point; its `prompt` column holds the imports."""
    check, entry = text_of(raw, "test"), text_of(raw, "entry_point")
    return {
        "@tests": asserts(text_of(raw, "prompt"), [f"{check}\n\ncheck({entry})"]) if check and entry else None
    }


def _fenced(program: str) -> str:
    return f"```python\n{program.strip()}\n```"


def _competition(raw: Raw) -> dict[str, Any]:
    """Show the starter code that an answer must keep to; tests are by standard input or by call."""
    starter = text_of(raw, "starter_code").strip()
    asked = raw.get("question")
    if starter and isinstance(asked, str):
        asked = f"{asked}\n\nUse this starter code:\n\n{_fenced(starter)}"
    return {"@prompt": asked, "@tests": _input_output(raw, starter)}


def _input_output(raw: Raw, starter: str) -> str | None:
    """Read the JSON of inputs and outputs; None where it is no such thing, or empty."""
    try:
        given = json.loads(text_of(raw, "input_output"))
        pairs = list(zip(given["inputs"], given["outputs"], strict=True))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    name = given.get("fn_name")
    if not pairs:
        return None
    if not isinstance(name, str) or not name:
        cases = [{"stdin": _lines(given), "stdout": _lines(wanted)} for given, wanted in pairs]
        return json.dumps({"kind": "stdin", "cases": cases}, sort_keys=True)
    if not all(isinstance(given, list) for given, _ in pairs):
        return None
    in_class = "class Solution" in starter
    # Outside of a class, as on Codewars, an output is wrapped into a list of its own.
    calls = [
        {
            "args": args,
            "expected": out[0] if not in_class and isinstance(out, list) and len(out) == 1 else out,
        }
        for args, out in pairs
    ]
    entry = f"Solution().{name}" if in_class else name
    return json.dumps({"kind": "function", "entry": entry, "cases": calls}, sort_keys=True)


def _lines(text: Any) -> str:
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)


def _listed_solutions(raw: Raw) -> list[str | Drop] | Drop:
    """List the human solutions, which are a list as JSON."""
    try:
        found = json.loads(text_of(raw, "solutions") or "[]")
    except (ValueError, RecursionError):
        return Drop("no response: 'solutions' is no JSON")
    programs = [_fenced(one) for one in found if isinstance(one, str)] if isinstance(found, list) else []
    return list(programs) or Drop("no response: 'solutions' is empty")


def _code_contests(raw: Raw) -> dict[str, Any]:
    """Judge by public and private tests; generated ones are many and some are wrong."""
    cases = [case for column in ("public_tests", "private_tests") for case in _cases(raw.get(column))]
    rating = raw.get("cf_rating")
    steps = (HIGHEST_RATING - LOWEST_RATING) // 100 + 1
    step = (rating - LOWEST_RATING) // 100 + 1 if isinstance(rating, int) else 0
    return {
        "@tests": json.dumps({"kind": "stdin", "cases": cases}, sort_keys=True) if cases else None,
        "@difficulty": f"{step}/{steps}" if 1 <= step <= steps else None,
    }


def _cases(tests: Any) -> list[dict[str, str]]:
    if not isinstance(tests, Mapping):
        return []
    given, wanted = tests.get("input"), tests.get("output")
    if not isinstance(given, list) or not isinstance(wanted, list):
        return []
    return [{"stdin": str(one), "stdout": str(other)} for one, other in zip(given, wanted, strict=False)]


def _contest_solutions(raw: Raw) -> list[str | Drop] | Drop:
    """List the solutions in Python 3."""
    solutions = raw.get("solutions")
    if not isinstance(solutions, Mapping):
        return Drop("no response: 'solutions' is not a table")
    languages, programs = solutions.get("language"), solutions.get("solution")
    if not isinstance(languages, list) or not isinstance(programs, list):
        return Drop("no response: 'solutions' has no lists of language and solution")
    pairs = zip(languages, programs, strict=False)
    found = [_fenced(one) for language, one in pairs if language == PYTHON3 and isinstance(one, str)]
    return list(found) or Drop(f"no response: none of {len(programs)} solutions is in Python 3")


_COMPETITION = Preset(
    {"prompt": "@prompt", "response": "@response", "tests": "@tests", "difficulty": "difficulty"},
    _competition,
    needs=("question", "solutions", "input_output"),
    several=_listed_solutions,
)

CODE: Mapping[str, Preset] = {
    # newfacade/LeetCodeDataset
    "leetcode": Preset(
        {
            "prompt": "query",
            "response": "response",
            "tests": "@tests",
            "difficulty": "difficulty",
            "group": "task_id",
        },
        _leetcode,
        needs=("test", "entry_point", "prompt"),
    ),
    # nvidia/OpenCodeReasoning, split_0
    "open_code_reasoning": Preset({
        "prompt": "input",
        "response": "output",
        "difficulty": "difficulty",
        "license": "license",
        "group": "id",
    }),
    # ise-uiuc/Magicoder-OSS-Instruct-75K
    "oss_instruct": Preset({"prompt": "problem", "response": "solution"}),
    # codeparrot/apps: introductory, interview, competition
    "apps": _COMPETITION,
    # BAAI/TACO: EASY … VERY_HARD, UNKNOWN_DIFFICULTY
    "taco": _COMPETITION,
    # deepmind/code_contests
    "code_contests": Preset(
        {
            "prompt": "description",
            "response": "@response",
            "tests": "@tests",
            "difficulty": "@difficulty",
            "group": "name",
        },
        _code_contests,
        needs=("solutions", "public_tests"),
        several=_contest_solutions,
    ),
}
