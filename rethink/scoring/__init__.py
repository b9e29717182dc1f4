"""How good an edit is: a judge's scores, similarities, how well the rest was kept, and reward models, in one record."""
