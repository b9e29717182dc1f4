"""What nodes say of themselves, as the front end gets it."""


def inputs_of(node):
    """Name → (type, options) of a node's inputs, those that may be left out too."""
    return {**node["input"]["required"], **node["input"].get("optional", {})}
