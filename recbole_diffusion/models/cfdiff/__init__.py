"""CF-Diff (SIGIR 2024): a row is denoised with an eye on users and items some hops away."""

from recbole_diffusion.settings.about import About

MODELS = {
    "CFDiff": {
        "about": About("diffusion", "interactions", "SIGIR 2024"),
        "model": ".model:CFDiff",
        "trainer": "recbole_diffusion.training.rows:RowTrainer",
        "settings": ".settings:CFDiffSettings",
    },
}
