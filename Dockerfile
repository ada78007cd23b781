# maskling with the CPU build of torch; for an NVIDIA GPU, name a CUDA build of torch instead:
#
#   docker build -t maskling .
#   docker build -t maskling:cuda --build-arg TORCH=cu130 .
#
#   docker run --rm -v "$PWD:/work" maskling prepare my-texts --out data
#   docker run --rm -v "$PWD:/work" -p 127.0.0.1:8000:8000 maskling serve runs/mine --host 0.0.0.0

ARG PYTHON=3.11
FROM python:${PYTHON}-slim

# The last part of the address of torch's package index: cpu, cu130, ...; behind a mirror, give the whole address.
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/${TORCH}
ARG EXTRAS=data,words,onnx,serve

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

WORKDIR /opt/maskling
# Torch first and in a layer of its own: it is two thirds of the image and changes rarely.
COPY constraints.txt ./
RUN pip install --no-deps --constraint constraints.txt --extra-index-url "${TORCH_INDEX}" torch
COPY pyproject.toml hatch_build.py README.md LICENSE NOTICE ./
COPY src src
RUN pip install --constraint constraints.txt ".[${EXTRAS}]" \
    && useradd --create-home --uid 1000 maskling

USER 1000
WORKDIR /work
EXPOSE 8000

# Asks the server whether it is well; a container that runs another command counts as healthy.
ENV PORT=8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import os, pathlib, urllib.request as request; \
words = pathlib.Path('/proc/1/cmdline').read_bytes().split(b'\\0'); \
b'serve' in words and request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4).close()"]

ENTRYPOINT ["maskling"]
CMD ["--help"]
