"""Miniatures of the published benchmarks in their exact layouts, with a handful of items and prompts in our own words."""

import io
import json

import numpy as np
from PIL import Image

GEDIT_PROMPTS = {
    "_context_no_delimit": "You judge edits. Answer in JSON.",
    "_prompts_0shot_two_image_edit_rule": "Two images come.",
    "_prompts_0shot_tie_rule_SC": "SEMANTICS: was {this} done: <instruction>",
    "_prompts_0shot_rule_PQ": "QUALITY: is it natural?",
}
RISE_PROMPTS = {
    "prompt_consist": "CONSISTENCY of {instruct}",
    "prompt_reasoning": "REASONING of {instruct}: {reference}",
    "prompt_reasoning_w_input": "REASONING with input of {instruct}: {reference}",
    "prompt_generation": "PLAUSIBILITY",
    "prompt_spatial_cons": "CONSISTENCY in space of {instruct}",
    "prompt_spatial_ref": "REASONING in space of {instruct}: {reference}",
    "prompt_spatial_ref_w_input": "REASONING in space with input of {instruct}: {reference}",
    "prompt_spatial_ref_img": "REASONING in space by an image of {instruct}",
    "prompt_spatial_qual": "PLAUSIBILITY in space",
    "prompt_logical_cons_ans": "CONSISTENCY of an answer to {instruct}: {reference}",
    "prompt_logical_cons": "CONSISTENCY of a solution of {instruct}",
    "prompt_logical_txt": "REASONING by a text of {instruct}: {reference}",
    "prompt_logical_img": "never used: {instruct}",
    "prompt_logical_img_wo_q": "REASONING by an image {as it is}",
}
KRIS_PROMPTS = {
    "prompt_consist": "consistency_score of {instruct}",
    "prompt_quality": 'quality_score as {{"quality_score": 3}}',
    "prompt_instruction_following": "instruction_score of {instruct}",
    "prompt_abnormal_instruction_following": "never used: {instruct} {explanation}",
    "prompt_dual_evaluation": "dual of {instruct}: {explanation}",
    "prompt_view_instruction_following": "instruction_score by the truth of {instruct}",
    "prompt_consist_multi": "consistency_score of several, {instruct}",
    "prompt_instruction_multi": "instruction_score of several, {instruct}",
    "prompt_consist_temporal": "consistency_score of frame {N}, {instruct}",
    "prompt_instruction_temporal": "instruction_score of frame {N}, {instruct}",
}


def png(value=100, size=16):
    file = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data) if isinstance(data, bytes) else path.write_text(data, encoding="utf-8")
    return path


def code(path, prompts):
    lines = ["import nothing_that_exists", *(f"{name} = {text!r}" for name, text in prompts.items())]
    return put(path, "\n".join(lines) + "\n")


def gedit_rows():
    rows = [
        ("color_alter", "k1", "Make the car red", "en", True),
        ("color_alter", "k2", "Make the sky {green}", "en", False),
        ("ps_human", "k3", "Smooth the skin", "en", False),
        ("color_alter", "k4", "把车变成红色", "cn", True),
    ]
    return [
        {
            "task_type": task,
            "key": key,
            "instruction": text,
            "instruction_language": language,
            "input_image": {"bytes": png(20 * number), "path": f"{key}.png"},
            "input_image_raw": {"bytes": png(20 * number), "path": None},
            "Intersection_exist": shared,
        }
        for number, (task, key, text, language, shared) in enumerate(rows, 1)
    ]


def write_gedit(folder, form="arrow", rows=None):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(gedit_rows() if rows is None else rows)
    file = folder / "train" / f"data-00000-of-00001.{form}"
    file.parent.mkdir(parents=True, exist_ok=True)
    if form == "parquet":
        pyarrow.parquet.write_table(table, file, row_group_size=2)
    else:
        with pyarrow.OSFile(str(file), "wb") as out, pyarrow.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    code(folder / "code" / "GEdit-Bench" / "viescore" / "vie_prompts.py", GEDIT_PROMPTS)
    return folder


def write_imgedit(folder):
    from rethink.evaluation.benchmarks.imgedit_scores import TYPES

    entries = {
        "1": {"id": "animal/1.png", "prompt": "Add a hat", "edit_type": "add"},
        "2": {"id": "animal/2.png", "prompt": "Remove the dog", "edit_type": "remove"},
        "3": {"id": "style/3.png", "prompt": "Make it a sketch", "edit_type": "style"},
    }
    for number, entry in enumerate(entries.values(), 1):
        put(folder / "singleturn" / entry["id"], png(30 * number))
    put(folder / "singleturn" / "singleturn.json", json.dumps(entries))
    prompts = {name: f"SCORE {name}: <edit_prompt>" for name in TYPES}
    put(folder / "code" / "Benchmark" / "Basic" / "prompts.json", json.dumps(prompts))
    return folder


def rise_entries():
    return [
        {
            "index": "temporal_1",
            "category": "temporal_reasoning",
            "instruction": "Show it after a year",
            "image": "t/1.png",
            "reference": "the tree is taller",
            "consistency_free": "True",
            "subtask": "Life Progression",
        },
        {
            "index": "causal_2",
            "category": "causal_reasoning",
            "instruction": "Drop the glass",
            "image": "c/2.png",
            "reference": "the glass is broken",
            "reasoning_img": "True",
            "subtask": "Structural Deformation",
        },
        {
            "index": "spatial_3",
            "category": "spatial_reasoning",
            "instruction": "Show it from above",
            "image": "s/3.png",
            "reference_img": "s/3_ref.png",
            "subtask": "Viewpoint Generation",
        },
        {
            "index": "logical_4",
            "category": "logical_reasoning",
            "instruction": "Solve the maze",
            "image": "l/4.png",
            "reference_img": "l/4_ref.png",
            "reasoning_wo_ins": "True",
            "subtask": "Puzzle Solving",
        },
        {
            "index": "logical_5",
            "category": "logical_reasoning",
            "instruction": "Write the sum",
            "image": "l/5.png",
            "reference_txt": "7",
            "subtask": "Mathematical Derivation",
        },
    ]


def write_rise(folder):
    entries = rise_entries()
    for number, entry in enumerate(entries, 1):
        for name in ("image", "reference_img"):
            if name in entry:
                put(folder / "data" / entry[name], png(30 * number + (name == "image")))
    put(folder / "datav2_total_w_subtask.json", json.dumps(entries))
    code(folder / "code" / "utils.py", RISE_PROMPTS)
    return folder


def write_kris(folder):
    categories = {
        "color_change": {"1": {"ori_img": "1.jpg", "gt_img": "", "ins_en": "Make it red", "explain_en": "It is red"}},
        "physics": {"10": {"ori_img": "10.jpg", "ins_en": "Let it fall", "explain_en": "It lies on the floor"}},
        "multi-element_composition": {"2": {"ori_img": ["2-1.jpg", "2-2.jpg"], "ins_en": "Put one on the other"}},
        "temporal_prediction": {
            "3": {"ori_img": ["3-1.jpg", "3-2.jpg", "3-4.jpg"], "gt_img": "3-3.jpg", "ins_en": "Draw frame 3"}
        },
        "viewpoint_change": {"4": {"ori_img": "4.jpg", "gt_img": "4-gt.jpg", "ins_en": "Look from the left"}},
    }
    for category, entries in categories.items():
        for entry in entries.values():
            names = entry["ori_img"] if isinstance(entry["ori_img"], list) else [entry["ori_img"]]
            for name in (*names, entry.get("gt_img")):
                if name:
                    put(folder / "KRIS_Bench" / category / name, png(60))
        put(folder / "KRIS_Bench" / category / "annotation.json", json.dumps(entries))
    code(folder / "code" / "utils" / "prompts.py", KRIS_PROMPTS)
    return folder


WRITERS = {"gedit": write_gedit, "imgedit": write_imgedit, "rise": write_rise, "kris": write_kris}


def judge_reply(text):
    """What a judge says who gives the same scores to everything, by the first words of what it is asked."""
    if "SEMANTICS" in text:
        return '{"score": [8, 9], "reasoning": "done"}'
    if "QUALITY" in text:
        return '||V^=^V||\n{"score": [7, 7], "reasoning": "fine"}\n||V^=^V||'
    if text.startswith("SCORE"):
        return "Brief reasoning: good\nPrompt Compliance: 4\nSeamlessness: 3\nFidelity: 5"
    if text.startswith(("CONSISTENCY", "REASONING", "PLAUSIBILITY")):
        right = 1 if "solution" in text or "answer" in text or "by an image {" in text or "by a text" in text else 5
        return f"Reasons.\n**Final Score**: **{right}**"
    if text.startswith("dual"):
        return (
            '{"instruction_score": 4, "instruction_reasoning": "x", "knowledge_score": 3, "knowledge_reasoning": "y"}'
        )
    name = next(word for word in ("consistency_score", "quality_score", "instruction_score") if word in text)
    return json.dumps({name: 5, "reasoning": "good"})
