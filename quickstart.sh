#!/usr/bin/env bash
# Decant from end to end, on real data, with nothing but Rust and a C compiler:
# a teacher learns handwritten digits, answers once over gRPC, and goes; students learn from what it said.
#
#   ./quickstart.sh
#
# Leaves the dataset in target/quickstart/cache and the figures in target/quickstart/report.json. QUICKSTART_SEEDS=N trains N
# students of each kind, 10 unless given.
set -euo pipefail
cd "$(dirname "$0")"

seeds=${QUICKSTART_SEEDS:-10}
digits=examples/digits
out=target/quickstart
bin=${CARGO_TARGET_DIR:-target}/release
# what the user's shell configures is for other runs
unset "${!DECANT_@}"

say() { printf '\n== %s\n' "$*" >&2; }

server=
stop_server() {
    [ -z "$server" ] && return
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" || true
    server=
}
trap stop_server EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "building (release)"
cargo build --release --workspace --bins
begun=$SECONDS
rm -rf "$out"
mkdir -p "$out/runs" "$out/away"

evaluate() { # RUN: judges its model on the test part
    "$bin/student-trainer" eval "$1/model" --input $digits/test.parquet --json >"$1/test.json"
}

say "training the teacher: a residual network, on the 536 labelled images that are its own"
"$bin/student-trainer" train $digits/teacher.toml --output "$out/teacher"
evaluate "$out/teacher"

say "serving the teacher over gRPC"
"$bin/teacher-server" serve --model "$out/teacher/model" --listen 127.0.0.1:0 --root "$out" --root $digits \
    >"$out/server.address" 2>"$out/server.log" &
server=$!
url=
for _ in $(seq 300); do
    kill -0 "$server" 2>/dev/null || { cat "$out/server.log" >&2; exit 1; }
    url=$(sed -n 's/^listening on //p' "$out/server.address")
    # listing jobs works as soon as the teacher has answered its first forward pass
    if [ -n "$url" ] && "$bin/teacher-server" jobs --server "$url" >/dev/null 2>&1; then break; fi
    sleep 0.1
done
echo "ready on $url" >&2

say "capturing its soft targets: a job for the students' 478 images and the validation part"
"$bin/teacher-server" submit --watch --server "$url" --output "$PWD/$out/cache" --codec dense \
    --split "labelled=$PWD/$digits/labelled.parquet" \
    --split "unlabelled=$PWD/$digits/unlabelled.parquet" \
    --split "validation=$PWD/$digits/validation.parquet"

say "stopping the server, moving the teacher away"
stop_server
mv "$out/teacher" "$out/away/teacher"
"$bin/soft-labels" verify "$out/cache"

say "training students from the dataset alone: hard only, argmax (the control), distilled; $seeds seeds each"
for kind in hard_only argmax distilled; do
    for seed in $(seq "$seeds"); do
        run=$out/runs/$kind-$seed
        "$bin/student-trainer" train $digits/$kind.toml --seed "$seed" --output "$run" >"$run.log" 2>&1 ||
            { cat "$run.log" >&2; exit 1; }
        evaluate "$run"
    done
    echo "$kind: $seeds students trained" >&2
done

say "what they know of the 497 test images, which none of this has touched before"
"$bin/quickstart-report" "$out"
say "done in $((SECONDS - begun)) seconds after the build; the dataset is in $out/cache, the figures are in $out/report.json"
