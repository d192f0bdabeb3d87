# Kong Gateway with kafka-upstream beside it:
#
#   docker build -t kong-kafka-upstream --build-arg COMMIT=$(git rev-parse HEAD) .
#
# The argument may be left out: it is what kafka-upstream -version says of the
# source, and the plugin's version does not depend on it.
#
# The image leaves Kong's configuration as it is. To enable the plugin, set
# KONG_PLUGINS=bundled,kafka-upstream and KONG_PLUGINSERVER_NAMES=kafka-upstream,
# as docker-compose.yml does. With --build-arg COMPANION=1 it has the companion
# handler's files (docs/companion.md), which Kong uses as soon as they are there.
ARG GO_IMAGE=golang:1.26
ARG KONG_IMAGE=kong:3.9

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG COMMIT=unknown
# Without cgo the program runs on every Linux, whatever C library Kong's image has.
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X 'kafka-upstream/internal/version.commit=${COMMIT}'" -o /usr/local/bin/kafka-upstream ./cmd/kafka-upstream

FROM ${KONG_IMAGE}
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Kong Gateway with kafka-upstream" \
      org.opencontainers.image.description="A plugin server that turns HTTP requests into Kafka records" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${COMMIT}"
# The path is where Kong looks for the program of a plugin server of this name.
COPY --from=build /usr/local/bin/kafka-upstream /usr/local/bin/kafka-upstream
COPY LICENSE THIRD_PARTY_NOTICES /usr/local/share/doc/kafka-upstream/
ARG COMPANION=
USER root
RUN [ -z "$COMPANION" ] || kafka-upstream -companion
# As Kong's own images: the socket and the files with large request bodies are
# shared by Kong's workers and the plugin server, which must be the same user.
USER kong
