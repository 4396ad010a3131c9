#!/usr/bin/env bash
# Starts the head of laptop.yaml on this machine; `ray stop` ends it and its nodes.
set -euo pipefail
cd "$(dirname "$0")"

(umask 077; ray get-auth-token --generate >/dev/null) # else anybody here could read it
head=$(sed -n 's/^ *head_node_id: *//p' laptop.yaml)
exec env RAY_AUTH_MODE=token RAY_FAKE_CLUSTER=1 RAY_enable_autoscaler_v2=1 \
    RAY_CLOUD_INSTANCE_ID="$head" RAY_OVERRIDE_NODE_ID_FOR_TESTING="$head" \
    ray start --head --port=6379 --num-cpus=0 --dashboard-host=127.0.0.1 \
    --autoscaling-config=laptop.yaml "$@"
