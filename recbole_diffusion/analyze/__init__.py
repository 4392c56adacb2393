"""Place of one command; the function ``recbole_diffusion.analyze`` is another thing."""
