// A module around a program of others, written by tests/cluster/pin. It has no file of Go.
module prometheus.cluster.tests.invalid/build

go 1.25.8

require github.com/prometheus/prometheus v0.314.0

replace cloud.google.com/go => cloud.google.com/go v0.123.0
