#!/usr/bin/env bash
# Exports and stores the orders of one day on real Airflow, from a sandbox instead of Crux Connect: run.sh BIN DAY
# BIN is the bin folder of a virtual environment, relative to the repository; `make demo` gives both.
set -euo pipefail

demo=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$demo")
bin=${1:?"the bin folder of a virtual environment is missing: run make demo, which gives it"}
day=${2-}
[[ $bin == /* ]] || bin=$repository/$bin
python=$bin/python

# What Airflow, Python and proxies were told for other work: with it the run could go to somebody's real database,
# or the request past the sandbox.
unset "${!AIRFLOW@}" PYTHONPATH PYTHONHOME
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__DAGS_FOLDER=$repository/dags_examples
export AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY=1  # seconds: a demo that fails should not take ten minutes to
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
export PYTHONIOENCODING=:replace  # a terminal that has no letters outside of ASCII is no reason to fail
# stays after the demo: whoever wants to can open the file
orders=$demo/orders
export AIRFLOW_VAR_CRUX_ORDERS_FOLDER=file://$orders

fail() {
  echo "$1" >&2
  exit 1
}

[[ -x $python ]] || fail "There is no $python: run make demo, which installs it"

logical_date=$("$python" "$demo/report.py" logical-date "$day") || exit

home=$(mktemp -d)
log=$(mktemp)  # not in the home: it is kept where the demo fails

clean_up() {
  local status=$?
  trap '' INT TERM HUP
  # Only what still runs: the number of a process that has ended may be somebody else's by now. And not by TERM:
  # Airflow's tasks catch it and go on, and the home, all that could be left half done, is removed anyhow.
  local running
  running=$(jobs -pr)
  {
    [[ -z $running ]] || xargs kill -KILL <<<"$running" || true
    wait
  } 2>/dev/null  # bash would tell of the kill
  rm -rf "$home"
  case $status in
    0 | 129 | 130 | 143) rm -f "$log" ;;
    *)
      printf '\nThe demo failed. The end of its log, %s:\n\n' "$log"
      tail -n 25 "$log" | cut -c 1-500
      ;;
  esac >&2
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# In the background, and waited for: so a Ctrl-C is heard at once, whatever Airflow makes of the signal.
airflow() {
  "$python" -m airflow "$@" >>"$log" 2>&1 &
  wait $!
}

export AIRFLOW_HOME=$home
cd "$home"  # whatever anybody writes into the current folder goes with it

echo "1. Starting the sandbox, a stand-in for Crux Connect"
token=$("$python" -c 'import secrets; print(secrets.token_hex(20))')
mkfifo "$home/announcement"
"$python" -m airflow_provider_crux.sandbox --port 0 --token "$token" >"$home/announcement" 2>>"$log" &
# the line comes when it accepts connections; if it dies there is no line
read -r -t 60 line <"$home/announcement" || fail "The sandbox did not start"
url=${line##* }
# an empty host would be production
[[ $url =~ ^http://127\.0\.0\.1:[0-9]+$ ]] || fail "The sandbox announced no address on 127.0.0.1, but: $line"
echo "   $url"
export AIRFLOW_CONN_CRUX_DEFAULT="{\"conn_type\": \"crux\", \"host\": \"$url\", \"password\": \"$token\"}"

echo "2. Preparing $("$python" -c 'import importlib.metadata as m; print("Airflow", m.version("apache-airflow"))')" \
  "in a temporary folder"
airflow db migrate

echo "3. Running the DAG crux_orders_to_storage: airflow dags test crux_orders_to_storage $logical_date"
echo "   The run of $logical_date exports the orders of $day: a daily run starts when its day is over"
echo "   It waits for the export, as the triggerer would: 10 to 30 seconds; then it stores the file"
airflow dags test crux_orders_to_storage "$logical_date"

"$python" "$demo/report.py" report "$day" "$home/airflow.db" "$url" "$orders"
