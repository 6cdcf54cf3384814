#!/usr/bin/env bash
# What the default crate costs a user: seconds of a first release build, crates, size of the library and of a small program.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
export CARGO_TARGET_DIR=$target CARGO_TERM_COLOR=never
TIMEFORMAT='%R %U'
cargo fetch --quiet
read -r wall cpu < <({ time cargo build --release --lib --quiet; } 2>&1 | tail -1)
echo "first release build, with its dependencies: $wall s on $(nproc) cores, $cpu s of processor time"
touch src/lib.rs
read -r wall cpu < <({ time cargo build --release --lib --quiet; } 2>&1 | tail -1)
echo "the crate alone: $wall s, $cpu s of processor time"
echo "crates: $(cargo tree --edges normal,build --prefix none --no-dedupe | sed 's/ (.*//' | sort -u | wc -l)"
echo "library: $(( $(stat -c %s "$target/release/libpiadm.rlib") / 1024 )) KiB"
mkdir -p "$target/user/src"
cp examples/quickstart.rs "$target/user/src/main.rs"
cat > "$target/user/Cargo.toml" <<EOF
[package]
name = "user"
edition = "2024"
[dependencies]
piadm = { path = "$PWD" }
[profile.release]
strip = true
[workspace]
EOF
cargo build --release --quiet --manifest-path "$target/user/Cargo.toml"
echo "the example quickstart, stripped: $(( $(stat -c %s "$target/release/user") / 1024 )) KiB"
