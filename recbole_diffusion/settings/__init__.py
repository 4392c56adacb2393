"""Settings of runs: property files in layers, what each key takes, and names of models."""
