# The commands that people need here. `just` lists them.

_default:
    @just --list

# Look at a deploy: three of them, under traffic, with nothing to install.
quickstart:
    cargo run --example quickstart

# Compile everything, tests included.
check:
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    cargo fmt --all --check

# Run the tests of one crate: `just test core`.
test crate *arguments:
    cargo test -p bluegreen-{{crate}} --all-features {{arguments}}

# Run everything that must hold before a change lands, on a Debian machine, as root.
ci:
    .ci/run

# The same with the cross products in full.
full:
    BLUEGREEN_FULL=1 .ci/run

# Read the documentation as it will be published.
doc:
    cargo doc --workspace --no-deps --all-features --open
