#!/bin/sh
# Starts Grafana with a password nobody else knows: Grafana's own default, admin, is never in force.
set -eu
if [ -z "${GF_SECURITY_ADMIN_PASSWORD:-}" ]; then
    unset GF_SECURITY_ADMIN_PASSWORD
    if [ ! -e "${GF_PATHS_DATA:-/var/lib/grafana}/grafana.db" ]; then
        GF_SECURITY_ADMIN_PASSWORD=$(head -c 18 /dev/urandom | base64)
        export GF_SECURITY_ADMIN_PASSWORD
        echo "admin password: $GF_SECURITY_ADMIN_PASSWORD (shown once; octoroute does not keep it)"
    fi
fi
exec "${GRAFANA_RUN:-/run.sh}"
