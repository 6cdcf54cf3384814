#!/usr/bin/env bash
# Type-checks the feature `cuda` on a machine without NVIDIA's toolkit; arguments go to cargo clippy.
#
# candle compiles its kernels with nvcc when it is built. This puts a stand-in in nvcc's place that writes empty files: enough to check
# types, useless to run. Its outputs lie in a target folder of their own, so that no real build ever finds them.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}/check-cuda
toolkit=$target/toolkit
mkdir -p "$toolkit/bin" "$toolkit/include" "$toolkit/lib64"
cat > "$toolkit/bin/nvcc" <<'NVCC'
#!/usr/bin/env bash
# --version, or: --ptx --output-directory DIR .. FILE.cu, or: -c -o FILE .., or: --lib -o FILE ..
set -euo pipefail
directory= output= ptx= last=
while [ $# -gt 0 ]; do
  case $1 in
    --version) printf 'stand-in\n\n\nCuda compilation tools, release 12.8, V12.8.0\n'; exit ;;
    --list-gpu-code) echo sm_80; exit ;;
    --ptx) ptx=yes ;;
    --output-directory) directory=$2; shift ;;
    -o) output=$2; shift ;;
  esac
  last=$1
  shift
done
if [ -n "$ptx" ]; then output=$directory/$(basename "$last" .cu).ptx; fi
if [ "${output##*.}" = a ]; then printf '!<arch>\n' > "$output"; else : > "$output"; fi
NVCC
chmod +x "$toolkit/bin/nvcc"
toolkit=$(cd "$toolkit" && pwd)
export CARGO_TARGET_DIR=$target NVCC=$toolkit/bin/nvcc CUDA_HOME=$toolkit CUDA_COMPUTE_CAP=80 PATH=$toolkit/bin:$PATH
cargo clippy --features cuda --all-targets "$@" -- -D warnings
