"""Chats that say what a test wants to hear."""

FACE = '{"place": "the man\'s face", "description": "He has brown hair and round glasses."}'


class Seer:
    """A Chat with eyes."""

    name = "seer"

    def __init__(self, answer=FACE):
        self.answer, self.asked = answer, []

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        on_token(1, max_tokens)
        self.asked.append(images)
        return self.answer
