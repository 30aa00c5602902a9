# PostgreSQL, Redis and Caddy from Debian's packages, with as much of the official images' behaviour as compose.yaml relies on.

ARG BASE=docker.io/library/debian:12.12-slim

FROM ${BASE} AS redis
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
WORKDIR /data
USER redis

FROM ${BASE} AS caddy
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates caddy && rm -rf /var/lib/apt/lists/*
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data

FROM ${BASE} AS postgres
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner postgres --mode 0700 /var/lib/postgresql/data \
    && install --directory --owner postgres --mode 3777 /run/postgresql
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
USER postgres
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["sh", "-c", "set -eu; \
    if [ ! -s $PGDATA/PG_VERSION ]; then \
        (umask 077; printf %s $POSTGRES_PASSWORD > /tmp/password); \
        initdb --username $POSTGRES_USER --pwfile /tmp/password --auth scram-sha-256; \
        echo host all all all scram-sha-256 >> $PGDATA/pg_hba.conf; \
        echo CREATE DATABASE $POSTGRES_USER | postgres --single postgres; \
    fi; \
    exec postgres -c listen_addresses=*"]
