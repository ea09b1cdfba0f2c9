"""How much of a prompt stands in a benchmark question: the contamination rule. Pure.

The rule was measured on 78 true overlaps of LeetCode and LiveCodeBench (precision 0.93, recall 0.91):
containment = shared 10-grams over tokens ``[a-z0-9]+`` / the smaller of the two sets; from 0.25 on a row is
contaminated, from 0.10 on it is suspect. Those statements are long and no template made them. Three additions
keep other problems apart that share no more than their wording:

- *Boilerplate.* A phrase of four tokens that three or more different questions of a benchmark use is
  boilerplate, and an n-gram with fewer than half of its tokens outside such phrases does not count.
- *Short prompts.* Where the smaller set has no more than n n-grams left (fewer than 2 n tokens that tell),
  a few shared ones are most of it without its being the same problem ("Start with 14. Add 7. Double.").
  It is suspect at most.
- *Other numbers.* Where each prompt has a number that the other lacks, it is another problem of the same
  kind. It is suspect at most. (Cutting a copy short, or adding to it, leaves one set inside the other.)

Whatever the length, a prompt whose whole sequence of words and signs is a question's is contaminated: signs
count there, since "3 + 4" and "3 - 4" are two problems, and only sentence punctuation does not.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from infra_core.recipe import ScreenParams

Gram = tuple[str, ...]
WORD = re.compile(r"[a-z0-9]+")
WORD_OR_SIGN = re.compile(r"[a-z0-9]+|[^\sa-z0-9.,;:!?'\"“”‘’]")
PHRASE_TOKENS = 4
BOILERPLATE_QUESTIONS = 3


@dataclass(frozen=True, slots=True)
class Question:
    """A benchmark question, as the rule needs it."""

    example_id: str
    benchmark: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """The question that a prompt overlaps most, by how much, and what follows from it."""

    verdict: str  # contaminated | suspect
    question: Question
    containment: float


class QuestionIndex:
    """Benchmark questions by the n-grams that tell them apart."""

    def __init__(self, questions: Sequence[Question], params: ScreenParams) -> None:
        self.params = params
        self.questions = questions
        self.words = [_words(question.prompt) for question in questions]
        self.phrases = _repeated_phrases(zip(questions, self.words, strict=True))
        self.grams = [self._telling(words) for words in self.words]
        self.numbers = [_numbers(words) for words in self.words]
        self.exact: dict[Gram, Question] = {}
        self.holders: dict[Gram, list[int]] = defaultdict(list)
        for index, question in enumerate(questions):
            if whole := _signed(question.prompt):
                self.exact.setdefault(whole, question)
            for gram in self.grams[index]:
                self.holders[gram].append(index)
        self.held = set(self.holders)

    def overlap(self, prompt: str) -> Overlap | None:
        """Return the question that a prompt overlaps most, if it overlaps any enough to be listed."""
        same = self.exact.get(_signed(prompt))
        if same is not None:
            return Overlap("contaminated", same, 1.0)
        words = _words(prompt)
        shared = Counter(
            index for gram in self.held.intersection(self._grams(words)) for index in self.holders[gram]
        )
        if not shared:
            return None
        size = len(self._telling(words))
        found = [self._judged(index, count, size, words) for index, count in sorted(shared.items())]
        listed = [overlap for overlap in found if overlap is not None]
        return max(listed, key=lambda o: (o.verdict == "contaminated", o.containment), default=None)

    def _judged(self, index: int, shared: int, size: int, words: Sequence[str]) -> Overlap | None:
        smaller = min(size, len(self.grams[index]))
        containment = shared / smaller
        if containment < min(self.params.suspect_containment, self.params.drop_containment):
            return None
        little_to_tell = smaller <= self.params.ngram
        numbers = _numbers(words)
        others = bool(numbers - self.numbers[index]) and bool(self.numbers[index] - numbers)
        drop = containment >= self.params.drop_containment and not little_to_tell and not others
        return Overlap("contaminated" if drop else "suspect", self.questions[index], containment)

    def _grams(self, words: Sequence[str]) -> Iterator[Gram]:
        return _ngrams(words, self.params.ngram)

    def _telling(self, words: Sequence[str]) -> set[Gram]:
        """Return the n-grams that are not boilerplate, each judged by itself, so that both sides agree."""
        return {gram for gram in self._grams(words) if not self._is_boilerplate(gram)}

    def _is_boilerplate(self, gram: Gram) -> bool:
        covered: set[int] = set()
        for start, phrase in enumerate(_ngrams(gram, PHRASE_TOKENS)):
            if phrase in self.phrases:
                covered.update(range(start, start + PHRASE_TOKENS))
        return 2 * len(covered) > len(gram)


def _words(prompt: str) -> list[str]:
    return WORD.findall(prompt.lower())


def _signed(prompt: str) -> Gram:
    return tuple(WORD_OR_SIGN.findall(prompt.lower()))


def _numbers(words: Iterable[str]) -> set[str]:
    return {word for word in words if word.isdigit()}


def _ngrams(words: Sequence[str], n: int) -> Iterator[Gram]:
    return zip(*(words[start:] for start in range(n)), strict=False)


def _repeated_phrases(questions: Iterable[tuple[Question, list[str]]]) -> set[Gram]:
    """Return the phrases that several different questions of one benchmark use."""
    # Different: a question asked twice does not make its own text boilerplate.
    different = {(question.benchmark, tuple(words)) for question, words in questions}
    counts = Counter(
        (benchmark, phrase) for benchmark, words in different for phrase in set(_ngrams(words, PHRASE_TOKENS))
    )
    return {phrase for (_, phrase), count in counts.items() if count >= BOILERPLATE_QUESTIONS}
