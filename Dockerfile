# Built in one stage, run in another: no pip, no cache and no build tool in the image that runs.
FROM python:3.13-slim AS build

WORKDIR /build
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
    && python -m venv /opt/parquet-sink \
    && /opt/parquet-sink/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY deploy/data deploy/data
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/parquet-sink/bin/pip install --no-cache-dir --no-deps --no-index dist/*.whl \
    && /opt/parquet-sink/bin/pip uninstall --yes pip


FROM python:3.13-slim

# One volume for both: files are published by a rename, which no volume boundary may divide.
RUN useradd --system --uid 10001 --user-group --home-dir /data --no-create-home parquet-sink \
    && install -d -o parquet-sink -g parquet-sink /data /data/journal /data/parquet
COPY --from=build /opt/parquet-sink /opt/parquet-sink
COPY docs/parquet-sink.container.toml /etc/parquet-sink/parquet-sink.toml

ENV PATH=/opt/parquet-sink/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PARQUET_SINK_CONFIG=/etc/parquet-sink/parquet-sink.toml

USER parquet-sink
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
# For the port above without TLS; who changes either gives `docker run` a check of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["parquet-sink"]
CMD ["serve"]
