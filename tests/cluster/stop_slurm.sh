#!/usr/bin/env bash
# Stops what start_slurm.sh has started, by process id: the daemons, and the jobs that run on the nodes.
set -euo pipefail
: "${CLUSTER:?name the folder that start_slurm.sh was given}"
running() { for pid; do kill -0 "$pid" 2>/dev/null && return; done; return 1; }

pids=()
for name in slurmctld node1 node2 node3 node4 munged; do
  if [[ -s $CLUSTER/$name.pid ]]; then pids+=("$(<"$CLUSTER/$name.pid")"); fi
done
((${#pids[@]})) || exit 0
kill "${pids[@]}" 2>/dev/null || true
for _ in {1..40}; do
  running "${pids[@]}" || break
  sleep 0.25
done
if running "${pids[@]}"; then kill -KILL "${pids[@]}" 2>/dev/null || true; fi
rm -f "$CLUSTER"/*.pid
for link in /etc/slurm/{slurm,gres,cgroup}.conf; do
  if [[ $(readlink "$link") == "$(realpath "$CLUSTER")"/* ]]; then rm "$link"; fi
done

# Jobs outlive the daemon of their node. The kernel knows their processes.
for group in /sys/fs/cgroup/freezer/slurm_node[1-4]; do
  [[ -d $group ]] || continue
  find "$group" -name cgroup.procs -exec cat {} + | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
done
