"""A whole run of Inverse Edit Synthesis in a few words."""

from rethink.pairs.inverse.drafts import operation_maker
from rethink.pairs.inverse.instructions import TEMPLATES_ALONE
from rethink.pairs.inverse.processes import process_executor
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.models import ModelSource
from rethink.pairs.store import PairStore


def model_source(model):
    """A model that is open already."""
    return ModelSource(model.name, lambda: model)


def run_synthesis(store_folder, sources, recipe, writer=TEMPLATES_ALONE, processes=0):
    """(the store, what the run has done), by operations, in this process or in some."""
    with PairStore(store_folder).writing() as store:
        spread = process_executor(processes, store, recipe) if processes else None
        return store, synthesize(store, sources, operation_maker(store, recipe), recipe.pairs, writer, spread=spread)
