"""Stand-in for the progress bar; what nodes report is kept in `reports` as (value, total, preview)."""

reports: list[tuple] = []


class ProgressBar:
    def __init__(self, total, node_id=None):
        self.total = total

    def update_absolute(self, value, total=None, preview=None):
        self.total = total or self.total
        reports.append((value, self.total, preview))
