# One image for every role of Serving UI: compose.yaml starts the roles of an organisation from it.
#
#   docker build --tag serving-ui .
#   docker run --init --publish 127.0.0.1:8080:8080 --volume serving-ui:/data \
#     --env SERVING_UI_PUBLIC_URL=http://localhost:8080 serving-ui     # everything on SQLite, as `manage.py up`
#
# Where a proxy replaces TLS certificates, or with a package index of your own:
#   docker build --secret id=ca,src=ca.crt --build-arg PIP_INDEX_URL=https://pypi.example.com/simple --tag serving-ui .
#
# Tested (tests/containers) with podman 4.3 and runc 1.1 on a base that debootstrap made (Debian 12) under the name below. Not
# tested: Docker with BuildKit, other processors than x86-64, and the base as Docker Hub has it.

ARG BASE=docker.io/library/debian:12.12-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
WORKDIR /app
COPY requirements.lock ./
COPY serving_ui/bootstrap serving_ui/bootstrap
ARG PIP_INDEX_URL
# Makes .venv from the lock, as the first start of manage.py does, which then has nothing left to install.
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -c "from serving_ui.bootstrap.environment import enter; enter('/app', ['-c', ''], tests=False)"
COPY manage.py LICENSE ./
COPY serving_ui serving_ui
COPY templates templates
COPY static static
RUN python3 -m compileall -q --invalidation-mode unchecked-hash serving_ui .venv/lib

FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin serving_ui \
    && install --directory --owner serving_ui --group serving_ui --mode 0700 /data
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SERVING_UI_DATA=/data
WORKDIR /app
USER 10001:10001
# The only place that is written to, besides /tmp: keys, spool of usage, collected static files, SQLite.
VOLUME /data
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "manage.py", "up", "--host", "0.0.0.0"]
