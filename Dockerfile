# syntax=docker/dockerfile:1
# Two images from one file, neither with torch:
#   docker build --target cpu  -t kowairo:cpu .      (the default)
#   docker build --target cuda -t kowairo:cuda .     (needs the NVIDIA container toolkit on the host, nothing else)
# Packages are exact and hashed: deploy/requirements-{cpu,gpu}.txt, written by `make lock`.

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CACHE_DIR=/var/cache/pip \
    PATH=/opt/venv/bin:$PATH

FROM base AS packages-cpu
COPY deploy/requirements-cpu.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes --no-deps --only-binary :all: -r /tmp/requirements.txt

FROM base AS packages-cuda
COPY deploy/requirements-gpu.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes --no-deps --only-binary :all: -r /tmp/requirements.txt

# What both images share: the code, the bundle and a user who owns neither.
FROM base AS service
RUN groupadd --system --gid 10001 kowairo \
    && useradd --system --uid 10001 --gid kowairo --no-create-home --home-dir /srv kowairo \
    && install -d -o kowairo -g kowairo -m 0700 /var/lib/kowairo
WORKDIR /srv
COPY LICENSE ./
COPY models/bundles/ models/bundles/
COPY app/ app/
# Production refuses to start without KOWAIRO_AUTH__API_KEYS, so nobody exposes an open service by accident.
# What waits for an absent store is the only thing written to disk: mount a volume at /var/lib/kowairo to keep it.
ENV KOWAIRO_MODE=production \
    KOWAIRO_HOST=0.0.0.0 \
    KOWAIRO_PORT=8000 \
    KOWAIRO_STORE__SPOOL_PATH=/var/lib/kowairo/spool
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['KOWAIRO_PORT'] + '/livez', timeout=2)"]
CMD ["python", "-m", "app", "serve"]

FROM service AS cuda
COPY --from=packages-cuda /opt/venv /opt/venv
# Where the CUDA and cuDNN wheels put their libraries; the driver's own come from the container toolkit.
ENV LD_LIBRARY_PATH=/opt/venv/lib/python3.11/site-packages/nvidia/cu13/lib:/opt/venv/lib/python3.11/site-packages/nvidia/cudnn/lib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    KOWAIRO_INFERENCE__PROVIDER=cuda
USER 10001:10001

FROM service AS cpu
COPY --from=packages-cpu /opt/venv /opt/venv
ENV KOWAIRO_INFERENCE__PROVIDER=cpu
USER 10001:10001
