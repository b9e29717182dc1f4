"""Stand-in for the graphs that nodes expand into."""


def is_link(value):
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], (int, float))
    )


class GraphBuilder:
    prefix = ""  # the executor sets it to the id of the node that expands

    def __init__(self):
        self.nodes = {}

    def node(self, class_type, id):
        self.nodes[id] = _Node(f"{self.prefix}.0.0.{id}", class_type)
        return self.nodes[id]

    def finalize(self):
        return {node.id: node.serialize() for node in self.nodes.values()}


class _Node:
    def __init__(self, id, class_type):
        self.id, self.class_type, self.inputs, self.display = id, class_type, {}, id

    def out(self, slot):
        return [self.id, slot]

    def set_input(self, name, value):
        self.inputs[name] = value

    def set_override_display_id(self, id):
        self.display = id

    def serialize(self):
        return {"class_type": self.class_type, "inputs": self.inputs, "override_display_id": self.display}
