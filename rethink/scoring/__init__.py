"""How good one edit is: a judge's scores, similarities, what was left alone, and reward models, in one record."""
