# The stages of scripts/gpu_suite.sh, one function each; sourced. A stage runs in a process of its own under its time box, writes
# to its log, leaves one line in NAME.note, and returns 0 (passed), 77 (cannot run here) or anything else (failed).
# An inner `timeout` stays in the group of the stage's (--foreground), so that nothing of a stage outlives its box.

bin=$GALREC_SUITE_BIN out=$GALREC_SUITE_OUT rehearse=$([ "$GALREC_SUITE_MODE" = rehearse ] && echo yes)
kernels=$(sed -n 's/^galrec_op(\([a-z_]*\).*/\1/p' kernels/CMakeLists.txt)
# The most telling first: what the time box cuts off is the end.
peers="rms_norm attention_bias linear_cross_entropy info_nce adamw feed_forward ranking embedding attention_packed attention_varlen
  sampling lightgcn_layers convolution"

# PyTorch finds its own libraries; those of our programs are not for it.
python=(env "LD_LIBRARY_PATH=$GALREC_SUITE_PYTHON_LIBRARIES" "$PYTHON")

note() { printf '%s' "$2" >"$out/$1.note"; }
count() { local pattern=$1; shift; cat "$@" 2>/dev/null | grep -c -- "$pattern"; }

box_of() {  # seconds of a stage at most
  case "$1" in
    conformance) echo 20 ;; tests) echo 120 ;; parity) echo 40 ;; bench) echo 110 ;; peers) echo 170 ;; table) echo 10 ;;
    train) echo 60 ;; step) echo 60 ;; memcheck) echo 60 ;; racecheck) echo 60 ;; profile) echo 45 ;;
  esac
}

describe() {  # what the figures were measured on
  echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  echo "commit: $(git rev-parse HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo ' and changes')"
  if [ -f "$bin/../commit" ]; then echo "programs built from: $(cat "$bin/../commit")"; fi
  echo "processor: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) threads"
  if [ -n "$rehearse" ]; then
    echo "device: none, a rehearsal on the executor; no figure of it means anything"
    return
  fi
  echo "device: $(nvidia-smi --query-gpu=name,memory.total,clocks.max.sm,power.limit --format=csv,noheader 2>&1 | head -n 1)"
  echo "driver: $(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>&1 | head -n 1)"
  echo "CUDA toolkit: $(nvcc --version 2>/dev/null | sed -n 's/.*release //p')"
  echo "PyTorch: $("${python[@]}" -c 'import torch; print(torch.__version__)' 2>&1 | tail -n 1)"
}

stage_conformance() {
  "$bin/conformance" --compare tests/conformance/executor.txt --write "$out/conformance.txt" | tee "$out/conformance.md"
  local status=${PIPESTATUS[0]}
  note conformance "$(count 'holds |$' "$out/conformance.md") claims hold, $(count FAILS "$out/conformance.md") do not"
  return "$status"
}

passed_in() { cat "$@" | sed -n 's/.*PASSED  \] \([0-9]*\) test.*/\1/p' | awk '{s += $1} END {print s + 0}'; }

run_case() {  # run_case LABEL FILTER COMMAND…: one test program; a line with its counts
  local label=$1 filter=$2 log status
  shift 2
  log=$out/$label.log
  "$@" --gtest_filter="$filter" --gtest_brief=1 >"$log" 2>&1
  status=$?
  printf '%s: exit %d, %s passed, %s failed\n' "$label" $status "$(passed_in "$log")" "$(count '^\[  FAILED  \] .*(.*ms)' "$log")"
  # A program that ran nothing, or skipped (no device), has shown nothing.
  if [ $status -eq 0 ] && ! grep -q 'PASSED  \] [1-9]' "$log"; then echo "$label: nothing ran"; return 1; fi
  if [ $status -eq 0 ] && grep -q 'SKIPPED' "$log"; then echo "$label: cases were skipped"; return 1; fi
  return $status
}

run_cases() {  # run_cases STAGE FILTER OPERATIONS COMMAND…
  local stage=$1 filter=$2 operations=$3
  shift 3
  rm -rf "${out:?}/$stage" && mkdir -p "$out/$stage"
  export -f run_case passed_in count
  export out
  local jobs
  jobs=$([ "$(nproc)" -ge 8 ] && echo 4 || echo 2)
  local one='run_case "$0/$1" "$2" "${@:3}" "$GALREC_SUITE_BIN/test_$1" || touch "$out/$0/$1.failed"'
  printf '%s\n' $operations | xargs -P "$jobs" -I{} bash -c "$one" "$stage" {} "$filter" "$@"
  local bad
  bad=$(cd "$out/$stage" && ls | sed -n 's/\.failed$//p' | tr '\n' ' ')
  note "$stage" "$(passed_in "$out/$stage"/*.log) cases passed${bad:+; not: $bad}"
  [ -z "$bad" ]
}

stage_tests() {
  if [ -n "$rehearse" ]; then run_cases tests '*Cuda*' "rms_norm spmm csr pooling"; else run_cases tests '*Cuda*' "$kernels"; fi
}

stage_parity() {
  local fixtures="tests/golden/flan_tiny tests/golden/t5v1_tiny tests/golden/gal_step"
  if [ -n "$rehearse" ]; then fixtures=tests/golden/flan_tiny; fi
  "$bin/galrec" parity $fixtures --device cuda
  local status=$?
  note parity "$fixtures"
  return $status
}

sanitizer() {  # sanitizer STAGE TOOL SHARDS: under the tool a case takes ten to fifty times as long, so one in SHARDS runs
  export GTEST_TOTAL_SHARDS=$3 GTEST_SHARD_INDEX=1
  local operations="rms_norm spmm gemm pooling attention info_nce topk"
  if [ -n "$rehearse" ]; then
    run_cases "$1" '*CudaFloat*' "rms_norm pooling"
    local status=$?
    note "$1" "no compute-sanitizer on the executor: the cases ran without it; $(cat "$out/$1.note")"
    return $status
  fi
  if ! command -v compute-sanitizer >/dev/null; then note "$1" "compute-sanitizer is not installed"; return 77; fi
  run_cases "$1" '*CudaFloat*:*CudaBf16*' "$operations" timeout --foreground 28 compute-sanitizer --tool "$2" --error-exitcode 99
}
stage_memcheck() { sanitizer memcheck memcheck 3; }
stage_racecheck() { sanitizer racecheck racecheck 6; }

stage_bench() {
  mkdir -p "$out/bench"
  local failed=0 op
  for op in $kernels; do
    "$bin/bench_$op" --benchmark_filter='^cuda/' --benchmark_out="$out/bench/$op.json" --benchmark_out_format=json || failed=1
    # Google Benchmark ends with 0 when a benchmark reports an error.
    if grep -q '"error_occurred": true' "$out/bench/$op.json"; then failed=1; fi
  done
  local errors
  errors=$(count '"error_occurred": true' "$out"/bench/*.json)
  note bench "$(count '"real_time"' "$out"/bench/*.json) benchmarks, $errors with errors${rehearse:+; a smoke run}"
  return $failed
}

has_torch() { "${python[@]}" -c 'import torch, transformers' 2>/dev/null; }

stage_warm() {
  has_torch || return 77
  printf '%s\n' $peers | xargs -P 3 -I{} timeout --foreground 150 "${python[@]}" bench/peers/{}.py --warm
}

stage_peers() {
  if ! has_torch; then note peers "$PYTHON has no torch and transformers"; return 77; fi
  local failed="" name
  : >"$out/peers.jsonl"
  for name in $peers; do
    timeout --foreground 60 "${python[@]}" bench/peers/"$name".py ${rehearse:+--tiny} >>"$out/peers.jsonl" || failed+=" $name"
  done
  local wrong
  wrong=$(count '"status": "wrong"' "$out/peers.jsonl")
  note peers "$(count '"status": "timed"' "$out/peers.jsonl") variants timed, $wrong wrong${failed:+; not:$failed}"
  [ -z "$failed" ]
}

stage_table() {
  [ -s "$out/peers.jsonl" ] || { note table "no peers to pair with"; return 77; }
  "${python[@]}" bench/peers/table.py --ours "$out"/bench/*.json --peers "$out/peers.jsonl" --info "$out/info.txt" \
    --write "$out/goals.md" ${rehearse:+--rehearse}
  local status=$?
  note table "$(grep -c '^| G' "$out/goals.md") rows in goals.md"
  return $status
}

dataset() {  # the folder of a data set: given, shared with the checkout, or made
  if [ -n "$GALREC_SUITE_DATA" ]; then echo "$GALREC_SUITE_DATA"; return; fi
  local shared=${GALREC_DATA:-../shared/data}
  [ -d "$shared" ] || shared=shared/data
  if [ -z "$rehearse" ] && [ -d "$shared/beauty" ]; then echo "$shared/beauty"; return; fi
  [ -d "$out/synthetic" ] || "$bin/galrec" prepare synthetic --out "$out/synthetic" --name synthetic >/dev/null
  echo "$out/synthetic"
}

stage_train() {
  local data steps=200 preset=mini
  data=$(dataset)
  rm -rf "$out/train" "$out/lightgcn"
  local train=("$bin/galrec" train --data "$data" --out "$out/train" --device cuda)
  if [ -n "$rehearse" ]; then  # random item vectors: LightGCN's epoch would take longer than everything else
    steps=2 preset=nano
    "${train[@]}" --preset nano --max-steps 2 train.batch=4 train.micro_batch=4 train.log_every=1 || return 1
  else
    "$bin/galrec" pretrain lightgcn --data "$data" --out "$out/lightgcn" --device cuda pretrain.epochs=1 || return 1
    "${train[@]}" --preset $preset --external "$out/lightgcn" --max-steps $steps || return 1
  fi
  local curve
  curve=$("${python[@]}" - "$out/train/metrics.jsonl" <<'PY'
import json, math, sys
losses = [row["loss"] for row in map(json.loads, open(sys.argv[1])) if "loss" in row]
assert losses and all(map(math.isfinite, losses)), losses
print(f"{len(losses)} losses recorded, {losses[0]:.3f} to {losses[-1]:.3f}")
PY
  ) || return 1
  note train "$steps steps of $preset: $curve"
}

# A whole step of T5-base's size beside Hugging Face's (goal G14); the peer checks our seven losses first.
stage_step() {
  local data preset=flan-t5-base samples=64 micro=64 steps=10 only=bf16-sdpa,bf16-eager device=cuda
  data=$(dataset)
  if [ -n "$rehearse" ]; then preset=nano samples=2 micro=2 steps=1 only=fp32-eager device=cpu; fi
  local ours=("$bin/galrec" bench step --preset $preset --data "$data" --samples $samples --micro-batch $micro --steps $steps
    --device cuda)
  # T5's own vocabulary, where it lies beside the data: 66,564 columns on Beauty.
  local vocabulary=$data/../tokenizer/spiece.model
  if [ -f "$vocabulary" ]; then ours+=(--tokenizer "$vocabulary"); fi
  "${ours[@]}" --dump-batch "$out/step.safetensors" | tee "$out/step.txt"
  [ "${PIPESTATUS[0]}" -eq 0 ] || return 1
  if [ -z "$rehearse" ]; then
    "${ours[@]}" --precision bf16 | tee -a "$out/step.txt"
    [ "${PIPESTATUS[0]}" -eq 0 ] || return 1
  fi
  if has_torch; then
    "${python[@]}" bench/peers/hf_gal_step.py "$out/step.safetensors" --device $device --steps $steps --only $only |
      tee -a "$out/step.txt"
    [ "${PIPESTATUS[0]}" -eq 0 ] || return 1
  fi
  rm -f "$out/step.safetensors"
  note step "$(grep -E '^(median|fp32|bf16)' "$out/step.txt" | tr '\n' ';' | tr -s ' ')"
}

# What the hardware's counters say of the bytes that the executor's meter predicts (bench/results/meter.md).
stage_profile() {
  if [ -n "$rehearse" ]; then note profile "no counters on the executor"; return 77; fi
  if ! command -v ncu >/dev/null; then note profile "ncu is not installed"; return 77; fi
  mkdir -p "$out/profile"
  local failed=0 op
  local metrics=gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum,lts__t_sectors.sum
  metrics+=,l1tex__data_bank_conflicts_pipe_lsu.sum,sm__warps_active.avg.pct_of_peak_sustained_active
  for op in rms_norm attention linear_cross_entropy info_nce adamw; do
    timeout --foreground 20 ncu --csv --log-file "$out/profile/$op.csv" --metrics $metrics --launch-count 40 \
      "$bin/bench_$op" --benchmark_filter='^cuda/.*/(both|step)/(bf16|fp32)' || failed=1
    if grep -q ERR_NVGPUCTRPERM "$out/profile/$op.csv"; then note profile "this user may not read the counters"; return 77; fi
  done
  note profile "$(cat "$out"/profile/*.csv | grep -c gpu__time_duration) kernels"
  return $failed
}
