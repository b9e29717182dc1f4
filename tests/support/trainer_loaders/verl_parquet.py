"""What verl's own loader makes of a data set: python verl_parquet.py THINKER OPTIONS RESULT.

OPTIONS: of its command line, one a line. RESULT: a file of JSON lines: text, ground_truth as a reward function gets it,
and images, the mean color of each as the model is shown it, 0…1.
"""

import asyncio
import json
import sys
from importlib.resources import files

import numpy as np
from omegaconf import OmegaConf
from verl.utils import hf_processor, hf_tokenizer
from verl.utils.dataset.rl_dataset import RLHFDataset


def main(thinker: str, options: str, result: str) -> None:
    defaults = OmegaConf.create({"data": OmegaConf.load(str(files("verl") / "trainer/config/data/legacy_data.yaml"))})
    config = OmegaConf.merge(defaults, OmegaConf.from_dotlist(options.splitlines())).data
    # `tool_config_path` is read from what no data set needs; a prompt that is too long stops a training later.
    config.update(tool_config_path=None, filter_overlong_prompts=True, cache_dir=f"{result}.cache")
    tokenizer, processor = hf_tokenizer(thinker), hf_processor(thinker)
    data = RLHFDataset(config.train_files, tokenizer, config, processor)
    with open(result, "w", encoding="utf-8") as lines:
        for row in (data[index] for index in range(len(data))):
            text, images = asyncio.run(ask(row["raw_prompt"], processor, config))
            record = {
                "text": tokenizer.decode(processor(text=[text], images=images)["input_ids"][0]),
                "ground_truth": row["reward_model"]["ground_truth"],
                "images": [(np.asarray(image) / 255).mean((0, 1)).tolist() for image in images],
            }
            lines.write(json.dumps(record) + "\n")


async def ask(messages: list[dict], processor, config) -> tuple[str, list]:
    """The prompt and its images, as verl's agent loop takes them from a row."""
    patch = processor.image_processor.patch_size
    images, _ = await RLHFDataset.process_vision_info(messages, image_patch_size=patch, config=config)
    return processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False), images


if __name__ == "__main__":
    main(*sys.argv[1:])
