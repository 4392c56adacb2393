"""Tables, figures and the pages they stand on; nothing here knows of runs."""
