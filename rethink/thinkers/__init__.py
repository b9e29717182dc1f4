"""Vision-language models that look at an edit: backends that chat, and the critique that is asked of them."""
