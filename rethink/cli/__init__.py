"""The command line."""

import os

# What the libraries log while loading is for their developers; we report errors ourselves. They read these variables on import,
# which happens in the modules of the commands.
for _variable, _value in {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
}.items():
    os.environ.setdefault(_variable, _value)
