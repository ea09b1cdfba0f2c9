"""Built-in mappings for published formats. One entry a format: its rules, and a pure row function if needed.

A row function returns extra columns, called ``@name`` so that they never hide a raw one, or a `Drop`.
It may be handed anything JSON can hold; what it cannot use it drops with the reason.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Raw = Mapping[str, Any]
BRACE = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\{|\}")


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a row is not used."""

    reason: str


Prepare = Callable[[Raw], dict[str, Any] | Drop]


@dataclass(frozen=True, slots=True)
class Preset:
    """A published format: rule by field, the row function before them, the columns that function needs."""

    rules: Mapping[str, str]
    prepare: Prepare | None = None
    needs: tuple[str, ...] = field(default=())


def last_boxed(text: str) -> str | None:
    r"""Return what stands in the last closed ``\\boxed{…}`` (or ``\\framebox``, ``\\fbox``), or None.

    Examples
    --------
    >>> last_boxed(r"so \\boxed{\\frac{7}{8}}."), last_boxed(r"cut \\boxed{1")
    ('\\\\frac{7}{8}', None)
    """
    opened: list[int | None] = []  # per open brace: where the box's content begins, None for other braces
    found = None
    for match in BRACE.finditer(text):
        if match[0] == "}":
            start = opened.pop() if opened else None
            found = text[start : match.start()].strip() if start is not None else found
        else:
            opened.append(match.end() if len(match[0]) > 1 else None)
    return found


def _text(raw: Raw, column: str) -> str:
    value = raw.get(column)
    return value if isinstance(value, str) else ""


def _gsm8k(raw: Raw) -> dict[str, Any]:
    """Steps without their ``<<calculator>>`` marks; the number after ``####`` is the answer."""
    steps = re.sub(r"<<[^<>\n]*>>", "", _text(raw, "answer"))
    _, mark, final = steps.rpartition("####")
    return {"@response": steps, "@answer": final.strip().replace(",", "") if mark else None}


def _math(raw: Raw) -> dict[str, Any]:
    return {"@answer": last_boxed(_text(raw, "solution"))}


def _math_8_samples(raw: Raw) -> dict[str, Any] | Drop:
    """Take the first of the sampled chains that was judged correct."""
    chains, scores = raw.get("code"), raw.get("score")
    if not isinstance(chains, list) or not isinstance(scores, list):
        return Drop("no response: 'code' and 'score' are not lists")
    right = [chain for chain, score in zip(chains, scores, strict=False) if score is True]
    if not right:
        return Drop(f"no response: none of {len(chains)} sampled chains is correct")
    return {"@response": right[0]}


def _leetcode(raw: Raw) -> dict[str, Any]:
    """Keep its own `check` as one assertion over the entry point; its `prompt` column holds the imports."""
    check, entry = _text(raw, "test"), _text(raw, "entry_point")
    return {
        "@tests": _asserts(_text(raw, "prompt"), [f"{check}\n\ncheck({entry})"]) if check and entry else None
    }


def _mbpp(raw: Raw) -> dict[str, Any]:
    imports, asserts = raw.get("test_imports"), raw.get("test_list")
    lines = [line for line in imports if isinstance(line, str)] if isinstance(imports, list) else []
    checks = [line for line in asserts if isinstance(line, str)] if isinstance(asserts, list) else []
    task = _text(raw, "prompt")
    if not checks or not task.strip():
        return {"@prompt": raw.get("prompt"), "@tests": None}
    # As the benchmark is always asked: without its tests nobody can know what the function is called.
    shown = "\n".join(checks)
    return {
        "@prompt": f"{task}\n\nYour code should pass these tests:\n\n{shown}",
        "@tests": _asserts("\n".join(lines), checks),
    }


def _asserts(setup: str, asserts: list[str]) -> str:
    return json.dumps({"kind": "asserts", "setup": setup, "asserts": asserts}, sort_keys=True)


def _aime(raw: Raw) -> dict[str, Any]:
    """AIME problems are ordered by difficulty; the number stands in the address."""
    number = re.search(r"Problem_(\d+)$", _text(raw, "url"))
    return {"@difficulty": f"{number[1]}/15" if number else None}


def _openr1_math(raw: Raw) -> dict[str, Any] | Drop:
    """Take the first generation that is complete and that either judge found correct."""
    generations = raw.get("generations")
    if not isinstance(generations, list):
        return Drop("no response: 'generations' is not a list")

    def said(column: str, index: int) -> bool:
        flags = raw.get(column)
        return isinstance(flags, list) and index < len(flags) and flags[index] is True

    complete = [i for i in range(len(generations)) if said("is_reasoning_complete", i)]
    right = [i for i in complete if said("correctness_math_verify", i) or said("correctness_llama", i)]
    if not right:
        return Drop(
            f"no response: of {len(generations)} generations {len(complete)} are complete, 0 of them correct"
        )
    return {"@response": generations[right[0]]}


def _livecodebench(raw: Raw) -> dict[str, Any] | Drop:
    """Take the public tests; the private ones are pickled, and nothing here opens a pickle from outside."""
    starter = _text(raw, "starter_code")
    try:
        cases = json.loads(_text(raw, "public_test_cases"))
        name = json.loads(_text(raw, "metadata") or "{}").get("func_name")
        if name:
            entry = f"Solution().{name}" if "class Solution" in starter else name
            tests: dict[str, Any] = {"kind": "function", "entry": entry, "cases": [_call(c) for c in cases]}
        else:
            pairs = [{"stdin": case["input"], "stdout": case["output"]} for case in cases]
            tests = {"kind": "stdin", "cases": pairs}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return Drop(f"nothing to judge by: 'public_test_cases' cannot be read ({error!r})")
    asked = f"{_text(raw, 'question_content')}\n\n{starter}" if starter else raw.get("question_content")
    return {"@prompt": asked, "@tests": json.dumps(tests, sort_keys=True)}


def _call(case: Mapping[str, str]) -> dict[str, Any]:
    """One argument a line, each as JSON."""
    args = [json.loads(line) for line in case["input"].splitlines() if line.strip()]
    return {"args": args, "expected": json.loads(case["output"])}


def _chat(turns: Any, role: str, content: str) -> dict[str, Any] | Drop:
    """Read one exchange: an optional system text, a user turn, an assistant turn."""
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        return Drop("no prompt: the conversation is not a list of turns")
    names = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant"}
    said = [(names.get(str(turn.get(role)), str(turn.get(role))), turn.get(content)) for turn in turns]
    system = [text for name, text in said if name == "system" and isinstance(text, str) and text.strip()]
    rest = [(name, text) for name, text in said if name != "system"]
    if [name for name, _ in rest] not in (["user", "assistant"], ["user"]):
        roles = " ".join(name for name, _ in rest)[:80]
        return Drop(f"not one question and one answer: the turns are {roles or 'none'}")
    texts = [text for _, text in rest]
    asked = "\n\n".join([*system, texts[0]]) if isinstance(texts[0], str) else texts[0]
    return {"@prompt": asked, "@response": texts[1] if len(texts) > 1 else None}


def _sharegpt(raw: Raw) -> dict[str, Any] | Drop:
    return _chat(raw.get("conversations"), "from", "value")


def _messages(raw: Raw) -> dict[str, Any] | Drop:
    return _chat(raw.get("messages"), "role", "content")


def _bespoke_stratos(raw: Raw) -> dict[str, Any] | Drop:
    """Leave the system text out: it is the same in every row and an exam does not show it."""
    turns = _sharegpt(raw)
    if isinstance(turns, Drop):
        return turns
    response = turns["@response"]
    return {**turns, "@answer": last_boxed(response) if isinstance(response, str) else None}


def _alpaca(raw: Raw) -> dict[str, Any]:
    instruction, given = raw.get("instruction"), _text(raw, "input")
    both = isinstance(instruction, str) and given.strip()
    return {"@prompt": f"{instruction}\n\n{given}" if both else instruction}


PRESETS: Mapping[str, Preset] = {
    # openai/grade-school-math
    "gsm8k": Preset(
        {"prompt": "question", "response": "@response", "answer": "@answer"}, _gsm8k, needs=("answer",)
    ),
    # hendrycks/MATH: level is "Level 1" … "Level 5", a few "Level ?"
    "math": Preset(
        {"prompt": "problem", "response": "solution", "answer": "@answer", "difficulty": "level"}, _math
    ),
    # QwenLM/Qwen2.5-Math: eight sampled chains a problem
    "math_8_samples": Preset(
        {"prompt": "question", "response": "@response", "answer": "gt", "difficulty": "level"},
        _math_8_samples,
        needs=("code", "score"),
    ),
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
    # google-research/mbpp, sanitized
    "mbpp": Preset(
        {"prompt": "@prompt", "response": "code", "tests": "@tests", "group": "task_id"},
        _mbpp,
        needs=("prompt", "test_list"),
    ),
    "aime24": Preset(
        {"prompt": "problem", "response": "solution", "answer": "answer", "difficulty": "@difficulty"},
        _aime,
    ),
    # level is a bare 1 … 5
    "math500": Preset({
        "prompt": "problem",
        "response": "solution",
        "answer": "answer",
        "difficulty": "Level {level}",
    }),
    # bespokelabs/Bespoke-Stratos-17k
    "bespoke_stratos": Preset(
        {"prompt": "@prompt", "response": "@response", "answer": "@answer"},
        _bespoke_stratos,
        needs=("conversations",),
    ),
    # open-r1/OpenR1-Math-220k
    "openr1_math": Preset(
        {"prompt": "problem", "response": "@response", "answer": "answer", "group": "uuid"},
        _openr1_math,
        needs=("generations", "is_reasoning_complete", "correctness_math_verify"),
    ),
    # nvidia/OpenCodeReasoning, split_0
    "open_code_reasoning": Preset({
        "prompt": "input",
        "response": "output",
        "difficulty": "difficulty",
        "license": "license",
        "group": "id",
    }),
    # livecodebench/code_generation_lite
    "livecodebench": Preset(
        {"prompt": "@prompt", "tests": "@tests", "difficulty": "difficulty", "group": "question_id"},
        _livecodebench,
        needs=("question_content", "public_test_cases", "metadata"),
    ),
    "alpaca": Preset({"prompt": "@prompt", "response": "output"}, _alpaca, needs=("instruction",)),
    "messages": Preset({"prompt": "@prompt", "response": "@response"}, _messages, needs=("messages",)),
    "sharegpt": Preset({"prompt": "@prompt", "response": "@response"}, _sharegpt, needs=("conversations",)),
}
