"""Work of a study in processes of its own: on this machine, or on those of a Ray cluster."""
