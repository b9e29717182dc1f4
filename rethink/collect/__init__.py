"""Training data from thinking runs: datasets for thinkers and pairs for editors."""
