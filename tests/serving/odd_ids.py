"""Ids and columns of the data set that the tests of this folder make."""

N_USERS, N_ITEMS = 40, 25
# Ids that are numbers, formulas, words of YAML, blanks and other scripts.
ODD = ["007", "=1+1", "true", "a b", "ü", "1e3", "null", "-5", "東", "#x", "'q'", "0"]
USERS = ODD + [f"u{n}" for n in range(N_USERS - len(ODD))]
ITEMS = [f"{odd}?" for odd in ODD] + [f"i{n}" for n in range(N_ITEMS - len(ODD))]
GENRES = ["Drama", "Comedy", "Comedy Drama", "Science Fiction"]
