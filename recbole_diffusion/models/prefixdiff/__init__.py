"""PrefixDiff: an absorbing diffusion along a history."""
