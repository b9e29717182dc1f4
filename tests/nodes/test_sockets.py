"""The types of the pack's own sockets are what workflows have saved."""


def test_the_types_have_the_names_that_workflows_know(part):
    sockets = part("nodes.sockets")
    names = {name: getattr(sockets, name).io_type for name in ("Editor", "Thinker", "Trajectory", "Loop", "Pairs")}
    assert names == {name: f"RETHINK_{name.upper()}" for name in names}


def test_every_socket_is_given_out_and_taken_by_some_node(classes, models):
    described = [cls.describe() for name, cls in classes.items() if name.startswith("Rethink")]
    given_out = {io_type for node in described for io_type in node["output"]}
    taken = {
        options[0]
        for node in described
        for part in ("required", "optional")
        for options in node["input"].get(part, {}).values()
    }
    own = {"RETHINK_EDITOR", "RETHINK_THINKER", "RETHINK_TRAJECTORY", "RETHINK_LOOP", "RETHINK_PAIRS"}
    assert own <= given_out and own <= taken
