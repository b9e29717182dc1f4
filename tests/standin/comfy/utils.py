"""Stand-in for the progress bar; what nodes report is kept in `reports` as (value, total, preview)."""

reports: list[tuple] = []


class ProgressBar:
    def __init__(self, total, node_id=None):
        self.total, self.sent = total, -1

    def update_absolute(self, value, total=None, preview=None):
        self.total = total or self.total
        if value <= self.sent and value < self.total and preview is None:
            return  # as ComfyUI's: nothing goes back
        self.sent = value
        reports.append((value, self.total, preview))
