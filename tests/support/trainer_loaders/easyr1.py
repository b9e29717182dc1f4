"""What EasyR1's own loader makes of a data set: python easyr1.py THINKER OPTIONS RESULT.

OPTIONS: of its command line, one a line. RESULT: a file of JSON lines: text, ground_truth as a reward function gets it,
and images, the mean color of each as the model is shown it, 0…1.
"""

import json
import sys
from unittest.mock import MagicMock

import numpy as np
from omegaconf import OmegaConf

sys.modules["verl.workers.rollout.vllm_rollout_spmd"] = MagicMock()  # it generates, and needs vLLM

from verl.trainer.config import DataConfig  # noqa: E402
from verl.utils.dataset import RLHFDataset, process_image  # noqa: E402
from verl.utils.tokenizer import get_processor, get_tokenizer  # noqa: E402


def main(thinker: str, options: str, result: str) -> None:
    given = OmegaConf.from_dotlist([*options.splitlines(), "data.filter_overlong_prompts_workers=1"])
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), given.data))
    config.post_init()
    tokenizer = get_tokenizer(thinker)
    data = RLHFDataset(
        data_path=config.train_files,
        tokenizer=tokenizer,
        processor=get_processor(thinker),
        prompt_key=config.prompt_key,
        answer_key=config.answer_key,
        image_key=config.image_key,
        image_dir=config.image_dir,
        max_prompt_length=config.max_prompt_length,
        format_prompt=config.format_prompt,
        min_pixels=config.min_pixels,
        max_pixels=config.max_pixels,
        filter_overlong_prompts_workers=config.filter_overlong_prompts_workers,
    )
    with open(result, "w", encoding="utf-8") as lines:
        for row in (data[index] for index in range(len(data))):
            images = [
                process_image(image, config.min_pixels, config.max_pixels)
                for image in row["multi_modal_data"]["images"]
            ]
            record = {
                "text": tokenizer.decode(row["input_ids"][row["attention_mask"].bool()]),
                "ground_truth": row["ground_truth"],
                "images": [(np.asarray(image) / 255).mean((0, 1)).tolist() for image in images],
            }
            lines.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
