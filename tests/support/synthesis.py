"""A whole run of Inverse Edit Synthesis in a few words."""

from rethink.pairs.inverse.drafts import operation_maker
from rethink.pairs.inverse.instructions import TEMPLATES_ONLY
from rethink.pairs.inverse.processes import process_executor
from rethink.pairs.inverse.synthesis import synthesize
from rethink.pairs.models import ModelSource
from rethink.pairs.store import PairStore


def model_source(model):
    """A model that is open already."""
    return ModelSource(model.name, lambda: model)


def run_synthesis(store_folder, sources, config, writer=TEMPLATES_ONLY, processes=0):
    """(the store, what the run has done), by operations, in this process or in some."""
    with PairStore(store_folder).writing() as store:
        executor = process_executor(processes, store, config) if processes else None
        maker = operation_maker(store, config)
        return store, synthesize(store, sources, maker, config.pairs, writer, executor=executor)
