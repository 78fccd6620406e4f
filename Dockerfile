# One image for all of it: the web server, the worker, migrations, the nightly enqueue.

FROM python:3.11-slim-bookworm AS build
WORKDIR /app
# The lock names more than runs (tests, linters); its hashes are checked here, for all of it ...
COPY requirements.lock ./
RUN pip download --quiet --require-hashes --dest /wheels --requirement requirements.lock
# ... and what runs is installed from these files and from nowhere else. The install is editable
# because migrations are found beside the package, as in a checkout.
COPY pyproject.toml README.md LICENSE ./
COPY backend/eventlink backend/eventlink
# [ray] for machines of a Ray cluster.
ARG EXTRAS=
RUN python -m venv .venv \
    && .venv/bin/pip install --quiet --no-index --find-links /wheels hatchling \
    && .venv/bin/pip install --quiet --no-index --find-links /wheels --no-build-isolation --editable .$EXTRAS
COPY backend/migrations backend/migrations
COPY backend/scripts backend/scripts
RUN python -m compileall -q backend

FROM python:3.11-slim-bookworm AS backend
# LightGBM's OpenMP.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin eventlink
COPY --from=build /app /app
WORKDIR /app
ARG EVENTLINK_REVISION=unknown
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOG_FORMAT=json \
    EVENTLINK_REVISION=$EVENTLINK_REVISION
USER 10001
EXPOSE 8000
# Of the web server; other commands turn it off.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8000/live', timeout=2)"]
CMD ["eventlink", "serve", "--host", "0.0.0.0", "--port", "8000", "--workers", "2"]
