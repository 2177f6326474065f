#!/bin/sh
# Writes a random password for everything in docker-compose.yml that has one into the file given (default .env beside the
# compose file, which docker compose reads by itself). What stands there already is kept, so it may be run again.
set -eu
file=${1:-$(dirname "$0")/../.env}
umask 077
touch "$file"
for name in \
	TASKER_ENGINE_PASSWORD TASKER_ADMIN_PASSWORD TASKER_OPERATOR_PASSWORD TASKER_SUBMITTER_PASSWORD TASKER_READER_PASSWORD \
	NATS_ROUTE_PASSWORD NATS_SYSTEM_PASSWORD GRAFANA_ADMIN_PASSWORD
do
	grep -q "^$name=." "$file" && continue
	# The letter in front keeps NATS from reading it as a number.
	printf '%s=p%s\n' "$name" "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >>"$file"
done
