# The release service. Its build context is the whole repository:
#     docker build --tag kmlflow:0.1.0 .
# Both bases can be named by digest: --build-arg BASE=docker.io/library/debian@sha256:…
ARG RUST=docker.io/library/rust:1.95.0-slim-bookworm
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${RUST} AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --package kmlflow && strip target/release/kmlflow

FROM ${BASE}
# Git serves and fetches repositories, ssh reaches those that want it, the certificates are for https. The service is not made to be the first
# process of a system: what Git leaves behind is collected by tini.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 /var/lib/kmlflow
COPY --from=build /build/target/release/kmlflow /usr/local/bin/kmlflow
# Only this directory and /tmp are written to: the root file system may be read-only.
ENV KMLFLOW__DATA_DIR=/var/lib/kmlflow/data
USER 10001:10001
WORKDIR /var/lib/kmlflow
EXPOSE 8080 9090
ENTRYPOINT ["tini", "--", "kmlflow"]
CMD ["serve"]
