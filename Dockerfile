# One static binary in an empty image: docker build --build-arg VERSION=v1.2.3 -t tasker .
# Tags are exact; make deploy-check holds that, and builds with the very command below.

FROM golang:1.26.8-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
ARG COMMIT=
ENV CGO_ENABLED=0
RUN go build -trimpath -ldflags "-s -w -X github.com/tasker-go/tasker.stampedVersion=${VERSION} -X main.stampedCommit=${COMMIT}" -o /out/ ./cmd/tasker ./examples/interop
RUN mkdir /out/data

# The example that submits through watermill-nats; docker-compose.yml runs it.
FROM scratch AS interop
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/interop /usr/local/bin/interop
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/interop"]

# Last, so that it is what docker build makes when nothing else is said.
FROM scratch AS tasker
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/tasker /usr/local/bin/tasker
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
# The data directory of an embedded server is /data/.tasker: mount a volume on /data.
WORKDIR /data
VOLUME /data
ENTRYPOINT ["/usr/local/bin/tasker"]
CMD ["serve"]
# It finds the embedded server by its data directory. On an external NATS say another one, as docker-compose.yml does.
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["/usr/local/bin/tasker", "status"]
