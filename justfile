# An index of the commands; the logic is in the scripts they name.

# The service with the five strategies played through it.
demo:
    cargo run -- demo

# The tests that need Rust and Git only.
test:
    tests/run

# Every tier; installs what is missing.
test-all:
    tests/run all

# A real control plane to try things on: `tests/cluster/enter` leads in, `just cluster-down` ends it.
cluster-up:
    tests/cluster/up

cluster-down:
    tests/cluster/down

# What CI runs: every tier and every gate.
check:
    .ci/run

# The gates alone.
gates:
    .ci/run gates

# Speed and memory, as ratios of one run.
bench:
    tests/bench/run

# Formats everything.
fmt:
    cargo fmt
