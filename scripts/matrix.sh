#!/usr/bin/env bash
# Runs the tests in several environments: matrix.sh ENVIRONMENT... `make matrix` passes all of them. Each is a version
# of Airflow, next (its newest pre-release), newer-python (the newest Airflow on the newest Python of this machine), or
# lowest (the lowest versions of our dependencies that pyproject.toml allows). A version followed by "-stores" or
# "-warehouses" runs only what make stores or make warehouses does.
#
# It installs the environments, two at a time. Meanwhile two lanes run side by side, and each goes through the
# environments in turn, as soon as they are installed. One runs the tests that start no scheduler, in two processes:
# "no-e2e" those without Airflow's database, and "integration" those with dag.test(). The other runs "e2e", the tests with
# a scheduler, which wait more than they work: only one at a time, because if two compete for the cores, tests time out.
# Then it makes the targets in ALSO, and takes tests from the first lane. LANES=e2e runs only the e2e tests. What depends
# on neither Airflow nor Python (the slow ones among the first) does not run on the versions of Airflow between the oldest
# (lowest) and the newest, nor on the pre-release.
#
# Each step writes .matrix/ENVIRONMENT-STEP.log, and the end of it is printed. If a step fails, the others still run. CI
# cuts its log in the middle, so the last lines repeat the errors, and tell how every run ended.
set -uo pipefail
cd "$(dirname "$0")/.."

newer_pythons=(3.13 3.12)
newer_python=$(scripts/find_python.sh "${newer_pythons[@]}")
read -ra lanes <<<"${LANES:-no-e2e,integration e2e,also,integration,no-e2e}"  # what each lane runs, one after the other
read -ra also <<<"${ALSO:-}"
workers="WORKERS=--numprocesses=2"

# Every background job becomes a process group, so that one signal ends it with all its tests and their Airflow.
set -m
trap 'kill -- $(jobs -pr | sed s/^/-/); wait; exit 130' INT TERM

# Runs make for an environment: make_for ENVIRONMENT TARGET [VARIABLE=VALUE]
make_for() {
  local -A groups=([3.3.2]="readers lake${ALSO:+ docs ui postgres celery}" [2.11.2]="${ALSO:+ui}")
  case $1 in
    newer-python) set -- "$@" AIRFLOW=3.3.2 VENV=.venv/3.3.2-newer PYTHON="$newer_python" COVERAGE= ;;
    # Old versions of aiohttp and urllib3 do not limit endless headers and compressed bodies, so without tests/faults.
    lowest) set -- "$@" AIRFLOW=lowest ARGS="--ignore=tests/faults --ignore=tests/test_distribution.py" ;;
    *) set -- "$@" AIRFLOW="$1" GROUPS_TOO="${groups[$1]:-}" "${coverage[@]}" ;;
  esac
  make --no-print-directory "${@:2}"
}

# Runs a step that no lane has begun, and prints the end of its log: run ENVIRONMENT STEP TARGET [VARIABLE=VALUE]
run() {
  local log=.matrix/$1-$2.log lines=15
  mkdir ".matrix/$1-$2.begun" 2>/dev/null || return 0
  make_for "$1" "${@:3}" >"$log" 2>&1 || {
    touch "$log.failed"
    lines=400
  }
  printf '%s\n' "== $1 $2: $log" "$(tail -n "$lines" "$log")"
}

# Installs the environments, two at a time.
install() {
  for environment in "${environments[@]}"; do
    while (($(jobs -pr | wc -l) == 2)); do wait -n; done
    {
      run "$environment" install install
      touch ".matrix/$environment.installed"
    } &
  done
  wait
}

# Runs the steps of a lane, each in every environment: lane STEP[,STEP]
lane() {
  local step environment
  for step in ${1//,/ }; do
    if [[ $step == also ]]; then
      for target in "${also[@]}"; do run 3.3.2 "make-$target" "$target"; done
      continue
    fi
    for environment in "${environments[@]}"; do
      until [[ -e .matrix/$environment.installed ]]; do sleep 1; done
      [[ -e .matrix/$environment-install.log.failed ]] && continue
      case $step-$environment in
        e2e-lowest | integration-lowest | e2e-newer-python | e2e-*-[sw]* | integration-*-[sw]*) ;;
        no-e2e-*-stores) run "$environment" no-e2e stores ;;
        no-e2e-*-warehouses) run "$environment" no-e2e warehouses ;;
        e2e-*) run "$environment" e2e test LANE=e2e ARGS="${ARGS:-tests/e2e}" ;;
        integration-*) run "$environment" integration test LANE=e2e ARGS=tests/integration "$workers" ;;
        no-e2e-next | no-e2e-3.2.2 | no-e2e-3.1.8 | no-e2e-3.0.6 | no-e2e-2.11.2) run "$environment" no-e2e test LANE="$lane_between" "$workers" ;;
        *) run "$environment" "$step" test LANE="$step" "$workers" ;;
      esac
    done
  done
}

# One environment alone is make test: it runs everything, without coverage. Among others, the versions between the oldest
# and the newest, and the pre-release, run the quick tests.
lane_between=unit coverage=()
(($# > 1)) || { lane_between=no-e2e; coverage=(COVERAGE=); }

rm -rf .matrix
mkdir .matrix
environments=()
for environment in "$@"; do
  [[ $environment == newer-python && -z $newer_python ]] || environments+=("$environment")
done

echo "== tests: this takes several minutes; to follow them, run tail -f .matrix/*.log"
install &
for lane in "${lanes[@]}"; do lane "$lane" & done
wait

status=0
for marker in .matrix/*.failed; do
  [[ -e $marker ]] || continue
  status=1
  log=${marker%.failed}
  echo "== failed: $log"
  {
    grep '^E  ' "$log" | awk '!seen[$0]++' | head -n 20  # pytest repeats the error of a fixture for every test
    grep -E '^(FAILED|ERROR|FAIL)\b' "$log" | tail -n 20
    tail -n 3 "$log"
  } | cut -c 1-600
done

echo "== summary"
for environment in "$@"; do
  [[ $environment == newer-python && -z $newer_python ]] && echo "$environment: skipped, no Python ${newer_pythons[*]}"
  for step in install no-e2e integration e2e "${also[@]/#/make-}"; do
    log=.matrix/$environment-$step.log
    if [[ -e $log.failed ]]; then
      echo "$environment $step: FAILED, $(tail -n 100 "$log" | grep -E '^=+ .* in [0-9.]+s' || echo "see $log")"
    elif [[ -e $log && $step != install ]]; then
      echo "$environment $step: $(grep -E '^=+ .* in [0-9.]+s' "$log" | tail -n 1)"
    fi
  done
done
exit $status
