#!/usr/bin/env bash
# Packs the tests and the benchmark of the CUDA backend, stripped, for a machine with a GPU and without Rust:
#
#     tests/cuda/pack.sh                    writes target/gpu/piadm-gpu.tar.gz (needs no GPU and no toolkit)
#     tar xzf piadm-gpu.tar.gz && piadm-gpu/run.sh     there: all tests on the first device, then the benchmark
#
# A missing driver is a failure there. With compute-sanitizer on the path the tests of the operations run under it too.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=target/gpu/piadm-gpu
rm -rf "$out" && mkdir -p "$out"

# the paths of the programs that cargo built
built() { cargo "$@" --no-run --message-format=json | python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        print(message["target"]["name"], message["executable"])'; }

{
  built test --release --features cuda --test cuda --test conformance
  built bench --features cuda --bench cuda
} | while read -r name program; do
  kind=test
  case "$program" in */deps/cuda-*) [ -e "$out/test-cuda" ] && kind=bench ;; esac
  cp "$program" "$out/$kind-$name"
  strip "$out/$kind-$name"
done

cat > "$out/run.sh" <<'RUN'
#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
export PIADM_GPU=1
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || true
./test-conformance
./test-cuda
if command -v compute-sanitizer > /dev/null; then
  for tool in memcheck racecheck initcheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 ./test-cuda operations:: scores:: adapters:: --test-threads=1
  done
fi
./bench-cuda | tee bench.txt
RUN
chmod +x "$out/run.sh"
tar czf target/gpu/piadm-gpu.tar.gz -C target/gpu piadm-gpu
ls -l target/gpu/piadm-gpu target/gpu/piadm-gpu.tar.gz
