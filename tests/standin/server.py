"""Stand-in for ComfyUI's server: keeps what is sent, and the routes that nodes register."""


class _Routes:
    def __init__(self):
        self.handlers = {}  # (method, path) → handler

    def route(self, method, path):
        def register(handler):
            self.handlers[method, path] = handler
            return handler

        return register


class PromptServer:
    def __init__(self):
        self.client_id = "client"
        self.routes = _Routes()
        self.texts = []  # (text, node id, client id)

    def send_progress_text(self, text, node_id, sid=None):
        self.texts.append((text, node_id, sid))


PromptServer.instance = PromptServer()
