# syntax=docker/dockerfile:1
# emostream for CPUs: the head, stream workers and HTTP interface of a cluster, and the whole service on one machine.
#
#   docker build --file deploy/images/cpu.Dockerfile --tag emostream:0.1.0-cpu .     (`make images`)
#
# Ray lets nodes join only with the same Python, to the patch: gpu.Dockerfile must name the same base image (a test sees to it).
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY deploy/constraints.txt deploy/constraints.txt
COPY emostream emostream
# `serve` is what a cluster needs, `tracing` for traces; sinks may need `export` (Parquet), `kafka` or `mqtt`: --build-arg EXTRAS=serve,tracing,kafka
ARG EXTRAS=serve,tracing
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint deploy/constraints.txt ".[${EXTRAS}]"
# Models are part of the image: a pod starts without network, and with the very files that were tested.
RUN emostream models verify \
    && mkdir --parents /opt/emostream/models \
    && chmod --recursive a+rX,go-w /opt/emostream

FROM ${PYTHON_IMAGE}
# wget: KubeRay's probes call it. The base image is pinned; security updates of its packages are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm --recursive --force /var/lib/apt/lists/*
# A login shell, which older KubeRay versions start Ray from, forgets PATH.
RUN echo "export PATH=/opt/venv/bin:\$PATH" > /etc/profile.d/emostream.sh \
    && groupadd --gid 10001 emostream \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin emostream
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/emostream /opt/emostream
# All that is written goes to /tmp and, where one is mounted, a volume for models: the rest may be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    EMOSTREAM_MODELS__CACHE_DIR=/opt/emostream/models \
    EMOSTREAM_MODELS__OFFLINE=true \
    ORT_DISABLE_TELEMETRY=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=emostream.deployments.http_proxy.harden_proxy
LABEL org.opencontainers.image.title="emostream (CPU)" \
    org.opencontainers.image.description="Watch many video sources, follow every face, publish its expression to Redis Streams." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="0.1.0"
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s --retries=4 \
    CMD ["wget", "--quiet", "--tries=1", "--output-document=-", "http://127.0.0.1:8000/livez"]
ENTRYPOINT ["emostream"]
CMD ["serve", "--host", "0.0.0.0"]
