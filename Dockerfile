# textcls for GPU machines (the default) or CPUs: see docs/docker.md.
#
#   docker build -t textcls .                                  torch with CUDA 13, and a C compiler for Triton
#   docker build -t textcls:cpu --build-arg VARIANT=cpu .      torch for CPUs, and no compiler
#
# No CUDA base image: torch's wheels bring CUDA's libraries, which such a base would only repeat.
ARG BASE_IMAGE=python:3.11-slim
# The installer, which does not stay in the image. (It is told to take the system's certificates, so
# that a company's own authority needs no option here.)
ARG UV_VERSION=0.13.9


# The project alone, to be laid over the environment that has its dependencies.
FROM ${BASE_IMAGE} AS project
ARG UV_VERSION
RUN pip install --no-cache-dir "uv==${UV_VERSION}" && uv venv /opt/venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY textcls textcls
COPY configs configs
COPY data data
RUN --mount=type=cache,target=/root/.cache/uv \
    VIRTUAL_ENV=/opt/venv UV_NATIVE_TLS=true UV_LINK_MODE=copy \
    uv pip install --no-deps --compile-bytecode .


FROM ${BASE_IMAGE}
# cuda or cpu.
ARG VARIANT=cuda

# tini: PID 1 is not ended by signals that it has no handler for yet, and has to bury orphans.
# procps: pgrep, by which joblib ends the processes of a sweep.
# gcc: with it Triton compiles what launches its kernels; nothing else here needs a compiler.
# hadolint ignore=DL3008,SC2086
RUN apt-get update && \
    if [ "${VARIANT}" = cpu ]; then compiler=; else compiler="gcc libc6-dev"; fi && \
    apt-get install -y --no-install-recommends tini procps ${compiler} && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*

# The pinned dependencies, in a layer of their own: a change of code leaves it as it is.
ENV PATH=/opt/venv/bin:${PATH} VIRTUAL_ENV=/opt/venv
# Another build of torch, by uv's names for them, such as cu126 for older drivers; or "index" for
# the one that the package index has.
ARG TORCH_BACKEND=
# Extras of pyproject.toml: sweeps in several processes, and the search for settings.
ARG EXTRAS="joblib tune"
ARG UV_VERSION
COPY pyproject.toml constraints.txt /app/
# torch goes first and alone, since of a backend's own index uv would want torchtext as well.
# What packages bring to test themselves, and torch's C++ headers where there is no compiler, goes.
# hadolint ignore=DL3003,SC2086
RUN --mount=type=cache,target=/root/.cache/uv \
    export UV_LINK_MODE=copy UV_NATIVE_TLS=true UV_PYTHON_DOWNLOADS=never && \
    case "${TORCH_BACKEND:-${VARIANT}}" in \
        cuda | index) backend= ;; \
        *) backend="--torch-backend=${TORCH_BACKEND:-${VARIANT}}" ;; \
    esac && \
    extras=$(for extra in ${EXTRAS}; do echo "--extra=${extra}"; done) && \
    pip install --no-cache-dir --target /tmp/uv "uv==${UV_VERSION}" && \
    /tmp/uv/bin/uv venv "${VIRTUAL_ENV}" && \
    /tmp/uv/bin/uv pip install --no-deps -c /app/constraints.txt ${backend} torch && \
    /tmp/uv/bin/uv pip install -c /app/constraints.txt -r /app/pyproject.toml ${extras} && \
    rm -rf /tmp/uv* && \
    cd "${VIRTUAL_ENV}"/lib/python3*/site-packages && \
    find . -type d \( -name tests -o -path ./torch/test \) -prune -exec rm -r {} + && \
    find torch/bin -name '*[Tt]est*' -delete && \
    if [ "${VARIANT}" = cpu ]; then rm -r torch/include; fi && \
    python -m compileall -q -j 0 -x torch/testing/_internal . && \
    python -c "import torch; assert (torch.version.cuda is None) == ('${VARIANT}' == 'cpu'), torch"

# Any user may be given (--user): these need neither a name nor a home. Sticky, as /tmp is.
RUN mkdir -m 1777 /workspace /cache
ENV HOME=/cache USER=textcls \
    XDG_CACHE_HOME=/cache TEXTCLS_CACHE=/cache/textcls HF_HOME=/cache/huggingface \
    MPLCONFIGDIR=/cache/matplotlib TRITON_CACHE_DIR=/cache/triton TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The project.
COPY --from=project /opt/venv /opt/venv
COPY .docker/entrypoint /usr/local/bin/textcls-entrypoint

USER 10001:10001
WORKDIR /workspace
VOLUME ["/workspace", "/cache"]
# -g: a signal reaches all processes of a sweep, as Ctrl-C does in a terminal.
ENTRYPOINT ["tini", "-g", "--", "textcls-entrypoint"]
# No HEALTHCHECK: a training is healthy while it runs, and its exit status says the rest.
# TensorBoard, which serves, has one in compose.yaml.

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="textcls" \
      org.opencontainers.image.description="Train, track and use text classifiers built on torch.nn.EmbeddingBag" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
