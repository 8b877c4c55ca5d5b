#!/bin/sh
# Makes what Prometheus, Alertmanager and Grafana of this stack read: kit/prometheus and kit/grafana beside this file. Run it
# again after an update of prismq; more options (webhooks, Slack) are those of `prismq kit prometheus --help`, and are passed on.
set -eu
cd "$(dirname "$0")"
prismq kit prometheus --out kit/prometheus --force \
    --target server:8000 --token-file /secrets/prismq.token --alertmanager alertmanager:9093 \
    --dashboard http://127.0.0.1:8000/ "$@"
prismq kit grafana --out kit/grafana --force \
    --prometheus http://prometheus:9090 --dashboard http://127.0.0.1:8000/
