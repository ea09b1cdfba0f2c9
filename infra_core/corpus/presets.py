"""Built-in mappings for published formats. One entry a format: its rules, and a pure row function if needed.

`infra_core.corpus.preset` says what such a function may do; benchmarks are in `benchmark_presets`,
corpora of code in `code_presets`.
"""

import re
from collections.abc import Mapping
from typing import Any

from infra_core.corpus.benchmark_presets import BENCHMARKS
from infra_core.corpus.code_presets import CODE
from infra_core.corpus.preset import Drop, Preset, Raw, text_of, texts_of
from infra_core.verify.response import last_boxed


def _gsm8k(raw: Raw) -> dict[str, Any]:
    """Steps without their ``<<calculator>>`` marks; the number after ``####`` is the answer."""
    steps = re.sub(r"<<[^<>\n]*>>", "", text_of(raw, "answer"))
    _, mark, final = steps.rpartition("####")
    return {"@response": steps, "@answer": final.strip().replace(",", "") if mark else None}


def _math(raw: Raw) -> dict[str, Any]:
    return {"@answer": last_boxed(text_of(raw, "solution"))}


def _math_8_samples(raw: Raw) -> list[str | Drop] | Drop:
    """List the sampled chains; the wrong ones by the word of the source."""
    chains, scores = raw.get("code"), raw.get("score")
    if not isinstance(chains, list) or not isinstance(scores, list):
        return Drop("no response: 'code' and 'score' are not lists")
    pairs = zip(chains, scores, strict=False)
    return [chain if score is True else Drop("incorrect: score is not true") for chain, score in pairs]


def _openr1_math(raw: Raw) -> list[str | Drop] | Drop:
    """List the generations; those count that are complete and that either judge found correct."""
    generations = raw.get("generations")
    if not isinstance(generations, list):
        return Drop("no response: 'generations' is not a list")

    def said(column: str, index: int) -> bool:
        flags = raw.get(column)
        return isinstance(flags, list) and index < len(flags) and flags[index] is True

    def fault(index: int) -> Drop | None:
        if not said("is_reasoning_complete", index):
            return Drop("incomplete: is_reasoning_complete is not true")
        if not (said("correctness_math_verify", index) or said("correctness_llama", index)):
            return Drop("incorrect: by neither judge found correct")
        return None

    return [fault(index) or generation for index, generation in enumerate(generations)]


def _thought_and_answer(thought: Any, answer: Any) -> str | None:
    if not isinstance(answer, str) or not isinstance(thought, str) or not thought.strip():
        return None
    return f"<think>\n{thought.strip()}\n</think>\n\n{answer.strip()}"


def _openthoughts(raw: Raw) -> dict[str, Any] | Drop:
    """Take the exchange; of the configuration `metadata` the columns that it was put together from."""
    if raw.get("conversations") is not None:
        return _bespoke_stratos(raw)
    response = _thought_and_answer(raw.get("deepseek_reasoning"), raw.get("deepseek_solution"))
    answer = last_boxed(text_of(raw, "ground_truth_solution")) or last_boxed(response or "")
    return {"@prompt": raw.get("problem"), "@response": response, "@answer": answer}


def _s1k(raw: Raw) -> dict[str, Any]:
    """Take the answer from the solution: boxed, or all of it where it is one short line."""
    solution = text_of(raw, "solution").strip()
    short = solution if 0 < len(solution) <= 40 and "\n" not in solution else None
    return {"@answer": last_boxed(solution) or short}


def _s1k_traces(raw: Raw) -> list[str | Drop] | Drop:
    """List the traces: DeepSeek's and Gemini's of s1K-1.1, each with its grade; Gemini's of s1K."""
    found: list[str | Drop] = []
    for model in ("deepseek", "gemini"):
        text = _thought_and_answer(raw.get(f"{model}_thinking_trajectory"), raw.get(f"{model}_attempt"))
        if text and text_of(raw, f"{model}_grade").strip().lower() == "no":
            found.append(Drop(f"incorrect: {model}_grade is 'No'"))
        elif text:
            found.append(text)
    if not found:
        traces = texts_of(raw, "thinking_trajectories")
        text = _thought_and_answer(traces[0] if traces else None, raw.get("attempt"))
        found = [text] if text else []
    return found or Drop("no response: neither trajectories nor attempts")


def _numina_cot(raw: Raw) -> dict[str, Any]:
    return {"@answer": last_boxed(text_of(raw, "solution"))}


def _metamath(raw: Raw) -> dict[str, Any]:
    """The answer stands behind the last "The answer is:"."""
    _, mark, final = text_of(raw, "response").rpartition("The answer is:")
    return {"@answer": final.strip() or None if mark else None}


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
    instruction, given = raw.get("instruction"), text_of(raw, "input")
    both = isinstance(instruction, str) and given.strip()
    return {"@prompt": f"{instruction}\n\n{given}" if both else instruction}


PRESETS: Mapping[str, Preset] = {
    **BENCHMARKS,
    **CODE,
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
        needs=("code", "score"),
        several=_math_8_samples,
    ),
    # bespokelabs/Bespoke-Stratos-17k
    "bespoke_stratos": Preset(
        {"prompt": "@prompt", "response": "@response", "answer": "@answer"},
        _bespoke_stratos,
        needs=("conversations",),
    ),
    # open-r1/OpenR1-Math-220k
    "openr1_math": Preset(
        {"prompt": "problem", "response": "@response", "answer": "answer", "group": "uuid"},
        needs=("generations", "is_reasoning_complete", "correctness_math_verify"),
        several=_openr1_math,
    ),
    # open-thoughts/OpenThoughts-114k (both configurations), OpenThoughts2-1M, OpenThoughts3-1.2M
    "openthoughts": Preset(
        {"prompt": "@prompt", "response": "@response", "answer": "@answer"}, _openthoughts
    ),
    # GAIR/LIMO
    "limo": Preset({"prompt": "question", "response": "solution", "answer": "answer"}),
    # simplescaling/s1K and s1K-1.1
    "s1k": Preset(
        {"prompt": "question", "response": "@response", "answer": "@answer"},
        _s1k,
        needs=("solution",),
        several=_s1k_traces,
    ),
    # AI-MO/NuminaMath-CoT
    "numina_cot": Preset({"prompt": "problem", "response": "solution", "answer": "@answer"}, _numina_cot),
    # meta-math/MetaMathQA: several wordings of one original question are a group
    "metamath": Preset(
        {"prompt": "query", "response": "response", "answer": "@answer", "group": "original_question"},
        _metamath,
    ),
    "alpaca": Preset({"prompt": "@prompt", "response": "output"}, _alpaca, needs=("instruction",)),
    "messages": Preset({"prompt": "@prompt", "response": "@response"}, _messages, needs=("messages",)),
    "sharegpt": Preset({"prompt": "@prompt", "response": "@response"}, _sharegpt, needs=("conversations",)),
}
