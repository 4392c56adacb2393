"""Repairs that let RecBole 1.2.x be imported and run on today's packages."""
