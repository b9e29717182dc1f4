"""What LLaMA-Factory's own loader makes of a data set: python llama_factory.py THINKER OPTIONS RESULT.

OPTIONS: its YAML. RESULT: a file of JSON lines: text, learned (what the loss is taken of), and images, the mean
color of each as the model is shown it, 0…1.
"""

import json
import sys

import yaml
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

IGNORED = -100


def main(thinker: str, options: str, result: str) -> None:
    model_args, data_args, training_args, _, _ = get_train_args(
        {"stage": "sft", "do_train": True, "output_dir": f"{result}.out", "report_to": "none", "use_cpu": True}
        | {"model_name_or_path": thinker, "bf16": False, "finetuning_type": "full"}
        | yaml.safe_load(options)
    )
    loaded = load_tokenizer(model_args)
    tokenizer, processor = loaded["tokenizer"], loaded["processor"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    data = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)["train_dataset"]
    with open(result, "w", encoding="utf-8") as lines:
        for row in data:
            inputs = template.mm_plugin.get_mm_inputs(
                row["images"], [], [], [len(row["images"])], [0], [0], [row["input_ids"]], processor
            )
            learned = [token for token in row["labels"] if token != IGNORED]
            record = {
                "text": tokenizer.decode(row["input_ids"]),
                "learned": tokenizer.decode(learned),
                "images": mean_colors(inputs["pixel_values"], inputs["image_grid_thw"], processor.image_processor),
            }
            lines.write(json.dumps(record) + "\n")


def mean_colors(patches, grids, image_processor) -> list[list[float]]:
    """Of Qwen's patches [N, 3·T·P·P] in −1…1."""
    counts = grids.prod(dim=1).tolist()
    size = image_processor.temporal_patch_size * image_processor.patch_size**2
    return [((each.view(-1, 3, size).mean(dim=(0, 2)) + 1) / 2).tolist() for each in patches.split(counts)]


if __name__ == "__main__":
    main(*sys.argv[1:])
