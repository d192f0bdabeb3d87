# Two images, for linux/amd64 and linux/arm64. The last target is the default:
#
#   kong    Kong Gateway with kafka-upstream in it, which Kong starts
#   server  kafka-upstream alone, for a container beside Kong's
#
#   docker build -t kong-kafka-upstream --build-arg COMMIT=$(git rev-parse HEAD) .
#   docker build -t kafka-upstream --target server .
#
# COMMIT may be left out: it is what kafka-upstream -version says of the source, and
# the plugin's version does not depend on it. This needs BuildKit, which Docker uses
# since 23.0. To pin an image that these are made of, give its digest:
#
#   --build-arg KONG_IMAGE=kong:3.9@sha256:…
#
# The image kong leaves Kong's configuration as it is. To enable the plugin, set
# KONG_PLUGINS=bundled,kafka-upstream and KONG_PLUGINSERVER_NAMES=kafka-upstream,
# as docker-compose.yml does. With --build-arg COMPANION=1 it has the companion
# handler's files (docs/companion.md), which Kong uses as soon as they are there.
ARG GO_IMAGE=golang:1.26
ARG KONG_IMAGE=kong:3.9

# On the machine's own architecture, whichever the image is for: Go needs no emulation.
FROM --platform=${BUILDPLATFORM} ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG COMMIT=unknown
ARG TARGETOS=linux
ARG TARGETARCH
# Without cgo the program runs on every Linux, whatever C library Kong's image has.
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false -ldflags "-s -w -X 'kafka-upstream/internal/version.commit=${COMMIT}'" -o /out/kafka-upstream ./cmd/kafka-upstream && \
    mkdir -p /out/run/kafka-upstream

FROM scratch AS server
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="kafka-upstream" \
      org.opencontainers.image.description="A plugin server for Kong Gateway that turns HTTP requests into Kafka records" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${COMMIT}"
# The authorities of public certificates, for brokers with TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/kafka-upstream /usr/bin/kafka-upstream
COPY LICENSE THIRD_PARTY_NOTICES /usr/share/doc/kafka-upstream/
# A new volume that is mounted here gets this owner.
COPY --from=build --chown=65532:65532 /out/run /run
# Another user than Kong's, which may not read this one's files. So the socket is for
# all users that can reach it: those of the containers with the volume.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/kafka-upstream", "-socket", "/run/kafka-upstream/kafka-upstream.socket", "-socket-mode", "0666", "-log-file", "off"]

FROM ${KONG_IMAGE} AS kong
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Kong Gateway with kafka-upstream" \
      org.opencontainers.image.description="A plugin server that turns HTTP requests into Kafka records" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${COMMIT}"
# The default is where Kong looks for the program of a plugin server of this name, and
# starts it. With the server in a container of its own, put it elsewhere: Kong needs it
# for the plugin's schema.
ARG PROGRAM=/usr/local/bin/kafka-upstream
COPY --from=build /out/kafka-upstream ${PROGRAM}
COPY LICENSE THIRD_PARTY_NOTICES /usr/local/share/doc/kafka-upstream/
ARG COMPANION=
USER root
RUN [ -z "$COMPANION" ] || "$PROGRAM" -companion
# As Kong's own images: the socket and the files with large request bodies are
# shared by Kong's workers and the plugin server, which must be the same user.
USER kong
# As Kong's own images: nginx answers the requests in flight.
STOPSIGNAL SIGQUIT
