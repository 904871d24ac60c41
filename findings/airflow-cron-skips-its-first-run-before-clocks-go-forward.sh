#!/usr/bin/env bash
# Airflow 3.3.2: a cron schedule whose first time lies directly before clocks go forward over it skips this time.
#
# Behavior: the start date is a time of the schedule, 02:00 in Berlin on March 28. On the next day 02:00 does not exist, and
# the schedule is due at 03:00. The scheduler's first run is that of March 29: the run of March 28, or its data interval or
# partition, is never created, also with catchup. From any earlier start date, the same schedule has that run.
# Source: airflow/timetables/_cron.py, `_align_to_next`: it takes a time for one of the schedule if the step back from the
# next one leads to it, and from 03:00 the step back leads to 02:00 of the same day, which is 03:00.
# Who meets it: DAGs that start on that day, backfills from it, and whoever asks a timetable for the runs since an instant.
# Output seen on 2026-11-28:
#   CronTriggerTimetable, from 2026-03-28: 2026-03-29T01:00:00+00:00
#   CronTriggerTimetable, from 2026-03-27: 2026-03-27T01:00:00+00:00, 2026-03-28T01:00:00+00:00
#   CronPartitionTimetable, from 2026-03-28: 2026-03-29T01:00:00+00:00
#   CronPartitionTimetable, from 2026-03-27: 2026-03-27T01:00:00+00:00, 2026-03-28T01:00:00+00:00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  apache-airflow-core==3.3.2 2>/dev/null
AIRFLOW_HOME=$folder/home "$folder/venv/bin/python" - >"$folder/output" 2>/dev/null <<'PYTHON'
import pendulum
from airflow.timetables.base import TimeRestriction
from airflow.timetables.trigger import CronPartitionTimetable, CronTriggerTimetable

for kind in (CronTriggerTimetable, CronPartitionTimetable):
    for day, count in ((28, 1), (27, 2)):
        timetable = kind("0 2 * * *", timezone="Europe/Berlin")
        earliest = pendulum.datetime(2026, 3, day, 2, tz="Europe/Berlin")
        restriction = TimeRestriction(earliest=earliest, latest=None, catchup=True)
        run, runs = None, []
        for _ in range(count):
            run = timetable.next_dagrun_info_v2(last_dagrun_info=run, restriction=restriction)
            runs.append(run.run_after.in_timezone("UTC").isoformat())
        print(f"{kind.__name__}, from 2026-03-{day}: {', '.join(runs)}")
PYTHON
grep Timetable "$folder/output" | tee "$folder/runs"
diff "$folder/runs" - <<'EXPECTED'
CronTriggerTimetable, from 2026-03-28: 2026-03-29T01:00:00+00:00
CronTriggerTimetable, from 2026-03-27: 2026-03-27T01:00:00+00:00, 2026-03-28T01:00:00+00:00
CronPartitionTimetable, from 2026-03-28: 2026-03-29T01:00:00+00:00
CronPartitionTimetable, from 2026-03-27: 2026-03-27T01:00:00+00:00, 2026-03-28T01:00:00+00:00
EXPECTED
