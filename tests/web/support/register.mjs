/** ComfyUI serves its scripts beside the pack's; in tests they are a stand-in. Loaded before every test file. */

import { register } from "node:module";

register("./hooks.mjs", import.meta.url);
