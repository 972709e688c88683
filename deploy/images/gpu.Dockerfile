# syntax=docker/dockerfile:1
# emostream for NVIDIA GPUs: the nodes of a cluster that run the emotion model, or the whole service on one machine with a GPU.
#
#   docker build --file deploy/images/gpu.Dockerfile --tag emostream:0.1.0-gpu .     (`make images`)
#
# The base is the same as that of cpu.Dockerfile, because Ray lets nodes join only with the same Python, to the patch. CUDA 13
# comes as NVIDIA's own wheels (cuda-bindings, and the runtime that TensorRT asks for), the driver from the host through
# NVIDIA's container toolkit: a CUDA base image would add nothing but another Python.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY deploy/constraints.txt deploy/constraints.txt
COPY emostream emostream
# The extra `gpu` brings TensorRT for RTX cards.
ARG EXTRAS=serve,gpu,tracing
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint deploy/constraints.txt ".[${EXTRAS}]"
# TensorRT for data-centre GPUs: these packages fetch their libraries from NVIDIA's index while they are installed. Leave them out
# for RTX cards alone: --build-arg TENSORRT=
ARG TENSORRT=tensorrt-cu13==11.4.0.106
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -n "${TENSORRT}" ]; then pip install --constraint deploy/constraints.txt "${TENSORRT}"; fi
# Models are part of the image; engines are compiled on the node, for its GPU (`emostream models compile`).
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
# All that is written goes to /tmp and, where one is mounted, a volume for models and engines: the rest may be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    EMOSTREAM_MODELS__CACHE_DIR=/opt/emostream/models \
    EMOSTREAM_MODELS__OFFLINE=true \
    ORT_DISABLE_TELEMETRY=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=emostream.deployments.http_proxy.harden_proxy
LABEL org.opencontainers.image.title="emostream (GPU)" \
    org.opencontainers.image.description="Watch many video sources, follow every face, publish its expression to Redis Streams." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="0.1.0"
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=300s --retries=4 \
    CMD ["wget", "--quiet", "--tries=1", "--output-document=-", "http://127.0.0.1:8000/livez"]
ENTRYPOINT ["emostream"]
CMD ["serve", "--host", "0.0.0.0", "--shared-classifier"]
