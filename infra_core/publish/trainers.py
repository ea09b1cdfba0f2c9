"""What trainers must be told of a published folder."""

import json

JSONL = "train.jsonl"


def llama_factory(name: str) -> str:
    """Return LLaMA-Factory's `dataset_info.json`: one data set, its file and what its columns mean."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    described = {
        "file_name": JSONL,
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {**tags, "system_tag": "system"},
    }
    return json.dumps({name: described}, indent=2) + "\n"


def usage(name: str) -> str:
    """Return how the usual trainers are pointed at the folder, as Markdown."""
    return f"""\
```python
from datasets import load_dataset
from trl import SFTTrainer

rows = load_dataset("path/to/{name}", split="train")
SFTTrainer(model="your/model", train_dataset=rows).train()
```

axolotl:

```yaml
datasets:
  - path: path/to/{name}
    type: chat_template
    field_messages: messages
```

LLaMA-Factory, with `dataset_dir: path/to/{name}`:

```yaml
dataset: {name}
```
"""
