// A module around a program of others, written by tests/cluster/pin. It has no file of Go.
module etcd.cluster.tests.invalid/build

go 1.26.0

require go.etcd.io/etcd/server/v3 v3.7.3
