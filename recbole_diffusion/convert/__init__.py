"""Released data, and files of people's own, into RecBole's atomic files."""
