"""What a trained run is for: recommendations, scores, similar items, explanations."""
