#!/bin/sh
# Feeds every target of the fuzzer made-up inputs, one after another, and says how many. Ends with the first finding.
# Needs a nightly toolchain and cargo-fuzz.
#
# SECONDS_EACH  how long for each target                                                 (60)
# TARGETS       which ones                                                               (all)
# SANITIZER     none, or address: slower, and looks into what the crates of others do    (none)
#
# What was found worth keeping stays in fuzz/target/corpus and is where the next run goes on.
set -eu

cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-60}
sanitizer=${SANITIZER:-none}
targets=${TARGETS:-$(sed -n 's/^name = "\([a-z]*\)"$/\1/p' fuzz/Cargo.toml)}
said=fuzz/target/said
total=0

cargo +nightly fuzz build --sanitizer "$sanitizer"
for target in $targets; do
    # Longer inputs are slower and reach nothing more: see what a message or a line of each holds.
    case $target in
        request | reply | master) longest=2048 ;;
        path | glob | values) longest=200 ;;
        *) longest=512 ;;
    esac
    corpus=fuzz/target/corpus/$target
    mkdir -p "$corpus"
    status=0
    cargo +nightly fuzz run --sanitizer "$sanitizer" "$target" "$corpus" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len="$longest" -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
        >"$said" 2>&1 || status=$?
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$said")
    total=$((total + ${count:-0}))
    if [ "$status" -ne 0 ]; then
        cat "$said" >&2
        printf '%-10s a finding, behind %s executions\n' "$target" "${count:-0}" >&2
        exit 1
    fi
    printf '%-10s %11d executions in %d s, no finding\n' "$target" "$count" "$seconds"
done
printf '%-10s %11d executions, no finding\n' all "$total"
