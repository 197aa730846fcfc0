// A module around a program of others, written by tests/cluster/pin. It has no file of Go.
module prometheus-operator.cluster.tests.invalid/build

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.93.1
