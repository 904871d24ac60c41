#!/usr/bin/env bash
# Exports and stores the orders of one day, then those of two days as Parquet, with a real Airflow and the sandbox instead
# of Crux Connect.
# Usage: demo.sh BIN DAY, where BIN is the bin folder of a virtual environment, relative to the repository.
# `make demo` passes both.
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$scripts")
bin=${1:?"Argument BIN is missing: run make demo, which passes it"}
day=${2-}
[[ $bin == /* ]] || bin=$repository/$bin
python=$bin/python

# Remove settings for Airflow, Python and proxies that were made for other work: they could lead Airflow to a real
# database, or a request past the sandbox.
unset "${!AIRFLOW@}" PYTHONPATH PYTHONHOME
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__DAGS_FOLDER=$repository/dags_examples
export AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY=1  # seconds, so that a failing demo does not wait ten minutes
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export PYTHONUNBUFFERED=1
export PYTHONIOENCODING=:replace  # do not fail on a terminal that shows only ASCII
# This folder stays after the demo, so that you can open the files.
orders=$repository/demo_output
export AIRFLOW_VAR_CRUX_ORDERS_FOLDER=file://$orders
# The backfill would not export again what an earlier demo stored here.
rm -rf "$orders/history"

fail() {
  echo "$1" >&2
  exit 1
}

[[ -x $python ]] || fail "$python does not exist: run make demo, which installs it"

logical_date=$("$python" "$scripts/demo_report.py" logical-date "$day") || exit
two_days=$("$python" "$scripts/demo_report.py" two-days "$day")

home=$(mktemp -d)
log=$(mktemp)  # outside the home, because it is kept if the demo fails

clean_up() {
  local status=$?
  trap '' INT TERM HUP
  # Kill only jobs that still run, because the ID of an ended process may belong to somebody else by now. Use KILL
  # because Airflow's tasks catch TERM and continue; the home, the only thing left incomplete, is removed anyway.
  local running
  running=$(jobs -pr)
  {
    [[ -z $running ]] || xargs kill -KILL <<<"$running" || true
    wait
  } 2>/dev/null  # hide bash's messages about killed jobs
  rm -rf "$home"
  case $status in
    0 | 129 | 130 | 143) rm -f "$log" ;;
    *)
      printf '\nThe demo failed. The last lines of its log (%s):\n\n' "$log"
      tail -n 25 "$log" | cut -c 1-500
      ;;
  esac >&2
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Runs Airflow in the background and waits for it, so that Ctrl-C takes effect at once whatever Airflow does with it.
airflow() {
  "$python" -m airflow "$@" >>"$log" 2>&1 &
  wait $!
}

export AIRFLOW_HOME=$home
cd "$home"  # files written to the current folder are removed with the home

echo "1. Start the sandbox, a local stand-in for Crux Connect"
read -r token hash_key < <("$python" -c 'import secrets; print(secrets.token_hex(20), secrets.token_hex(32))')
mkfifo "$home/announcement"
"$python" -m airflow_provider_crux.sandbox --port 0 --token "$token" >"$home/announcement" 2>>"$log" &
# The sandbox prints this line when it accepts connections. If the sandbox exits, there is no line.
read -r -t 60 line <"$home/announcement" || fail "The sandbox did not start"
url=${line##* }
# An empty host would mean the production service.
[[ $url =~ ^http://127\.0\.0\.1:[0-9]+$ ]] || fail "Expected the sandbox to print an address on 127.0.0.1, but got: $line"
echo "   It listens on $url"
export AIRFLOW_CONN_CRUX_DEFAULT="{\"conn_type\": \"crux\", \"host\": \"$url\", \"password\": \"$token\", \
  \"extra\": {\"hash_key\": \"$hash_key\"}}"

echo "2. Set up $("$python" -c 'import importlib.metadata as m; print("Airflow", m.version("apache-airflow"))')" \
  "in a temporary folder"
airflow db migrate

echo "3. Run the example DAG: airflow dags test crux_orders_to_storage $logical_date"
echo "   A daily run starts when its day is over, so the run of $logical_date exports the orders of $day."
echo "   It requests the export, waits until it is done (10 to 30 seconds) and stores the file."
airflow dags test crux_orders_to_storage "$logical_date"

"$python" "$scripts/demo_report.py" one-day "$day" "$home/airflow.db" "$url" "$orders"

echo
echo "4. Fill the gaps of two days: airflow dags test crux_orders_backfill $logical_date --conf '$two_days'"
echo "   It exports what no file covers, and stores it as Parquet with hashed personal data."
airflow dags test crux_orders_backfill "$logical_date" --conf "$two_days"

"$python" "$scripts/demo_report.py" backfill "$day" "$home/airflow.db" "$url" "$orders"
