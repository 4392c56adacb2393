# Serves a run or an export, mounted at /model: docs/serve.md.
FROM python:3.11-slim

WORKDIR /app
COPY requirements.txt setup.py pyproject.toml README.md ./
COPY recbole_diffusion recbole_diffusion
COPY properties properties
# Git's history is not copied, which would tell it.
ARG VERSION=0.1.0.dev0
# What serving needs, in the tested versions; PyTorch without CUDA.
RUN export SETUPTOOLS_SCM_PRETEND_VERSION=$VERSION \
    && torch=$(sed -n 's/^torch==//p' requirements.txt) \
    && pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
        -c requirements.txt "torch==$torch+cpu" ".[serve]" \
    && useradd --create-home --uid 10001 serve

USER serve
WORKDIR /home/serve
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["recbole-diffusion", "serve"]
CMD ["/model", "--host=0.0.0.0"]
