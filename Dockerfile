# Two stages: the first builds the package and compiles its kernels, the second holds nothing but what runs.
#
#   docker build -t kseg-batch .
#   docker run --rm --read-only --tmpfs /tmp -v "$PWD:/work" --user "$(id -u):$(id -g)" kseg-batch run images --k 5
#
# The kernels are compiled for the processor that builds the image. For an image that goes to other machines:
#   docker build --build-arg KSEG_KERNELS=baseline -t kseg-batch .
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG KSEG_KERNELS=native
ARG EXTRAS=s3
ENV KSEG_KERNELS=${KSEG_KERNELS} PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/kseg-batch
COPY pyproject.toml hatch_build.py README.md LICENSE /source/
COPY jobs /source/jobs
COPY kseg_core /source/kseg_core
COPY workflows /source/workflows
RUN /opt/kseg-batch/bin/pip install "/source[${EXTRAS}]" \
    && /opt/kseg-batch/bin/python -m compileall -q /opt/kseg-batch

FROM python:${PYTHON}-slim
COPY --from=build /opt/kseg-batch /opt/kseg-batch
RUN useradd --create-home --uid 1000 kseg && mkdir /work && chown kseg /work
# Whoever runs it need not be in the image's list of users, nor have a home: nothing is written but outputs and /tmp.
ENV PATH=/opt/kseg-batch/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp PYTHONDONTWRITEBYTECODE=1
USER kseg
WORKDIR /work
ENTRYPOINT ["kseg-batch"]
CMD ["--help"]
