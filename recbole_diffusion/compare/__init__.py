"""Place of one command; the function ``recbole_diffusion.compare`` is another thing."""
