"""Configurations for Prometheus, Alertmanager and Grafana, made from the tables of metrics and alerts: so that they say
what this version shows."""
