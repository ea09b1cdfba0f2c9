"""The character tokenizer: nothing is lost, nothing is unknown, every byte is a token."""

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from infra_core.lm.tokenizer import character_tokenizer

TOKENIZER = character_tokenizer()
texts = st.text(alphabet=st.characters(exclude_categories=("Cs",)))


@settings(deadline=None)
@given(texts)
def test_any_text_comes_back_and_every_byte_is_one_token(text):
    ids = TOKENIZER(text)["input_ids"]
    assert TOKENIZER.decode(ids) == text
    assert len(ids) == len(text.encode())


def test_padding_and_end_are_different_tokens():
    assert len({TOKENIZER.pad_token_id, TOKENIZER.eos_token_id}) == 2
    assert len(TOKENIZER) == 261


def test_a_chat_is_the_prompt_then_the_answer_then_the_end():
    turns = [{"role": "user", "content": "1+1\n"}, {"role": "assistant", "content": "2"}]
    asked = TOKENIZER.apply_chat_template(turns[:1], add_generation_prompt=True, tokenize=False)
    whole = TOKENIZER.apply_chat_template(turns, tokenize=False)
    assert asked == "<|user|>1+1\n<|assistant|>"
    assert whole == asked + "2<|end|>"


def test_offsets_say_which_characters_a_token_is_of():
    offsets = TOKENIZER("aé\n", return_offsets_mapping=True)["offset_mapping"]
    assert offsets == [(0, 1), (1, 2), (1, 2), (2, 3)]


def test_it_survives_being_saved(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "12+30=?\n naïve  def f(x):\n\treturn"
    assert again(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert again.chat_template == TOKENIZER.chat_template
