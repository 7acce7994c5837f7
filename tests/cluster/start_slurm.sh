#!/usr/bin/env bash
# Starts a Slurm of four nodes on this machine, for tests. Run it as root, as often as you like: it installs and
# starts only what is missing.
#
#   CLUSTER=/tmp/cluster tests/cluster/start_slurm.sh    # then sbatch, squeue and Snakemake use it
#   CLUSTER=/tmp/cluster tests/cluster/stop_slurm.sh
#
# Each node has a simulated GPU and real memory limits (a job that exceeds its memory is killed), for which
# cgroup v1 must be writable. Nodes claim more CPUs and memory than the machine has, because the profile asks for
# what the real models need. Everything it creates is in the folder CLUSTER, except links to its
# configuration in /etc/slurm, the only place where Snakemake's jobs look for it.
set -euo pipefail
: "${CLUSTER:?name a folder for configuration, state and logs, as in CLUSTER=/tmp/cluster $0}"
nodes=(node1 node2 node3 node4)
fail() { echo "start_slurm.sh: $*" >&2; exit 1; }
alive() { [[ -s $CLUSTER/$1.pid ]] && kill -0 "$(<"$CLUSTER/$1.pid")" 2>/dev/null; }
wait_for() { # what it is called, then the command that succeeds when it is there
  for _ in {1..1200}; do "${@:2}" >/dev/null 2>&1 && return; sleep 0.25; done
  fail "$1 did not start within 5 minutes; its log is in $CLUSTER/log"
}

etc=/etc/slurm
((EUID == 0)) || fail "only root can start a cluster"
for controller in memory freezer; do
  [[ -w /sys/fs/cgroup/$controller ]] || fail "memory limits need a writable /sys/fs/cgroup/$controller (cgroup v1)"
done
if [[ -e $etc/slurm.conf && $(realpath $etc/slurm.conf) != "$(realpath --canonicalize-missing "$CLUSTER")/slurm.conf" ]]; then
  fail "$(realpath $etc/slurm.conf) configures another cluster; remove that first"
fi

installed() { for program; do command -v "$program" >/dev/null || return; done; }
if ! installed slurmctld slurmd sbatch munged; then
  # Packages would start daemons of their own; exit status 101 forbids it.
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f $policy' EXIT
    install -m 755 <(printf '#!/bin/sh\nexit 101\n') $policy
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
fi

mkdir -p "$CLUSTER"/{log,munge,state}
CLUSTER=$(realpath "$CLUSTER")

# Munge, which authenticates the daemons, refuses folders that others can write to.
chmod 755 "$CLUSTER"
if ! alive munged; then
  [[ -s $CLUSTER/munge/key ]] || mungekey --create --keyfile "$CLUSTER/munge/key"
  munged --force --key-file "$CLUSTER/munge/key" --socket "$CLUSTER/munge/socket" --pid-file "$CLUSTER/munged.pid" \
    --log-file "$CLUSTER/log/munged" --seed-file "$CLUSTER/munge/seed"
fi

if ! alive slurmctld; then
  # A simulated GPU is a device file, which Slurm counts and grants; jobs see CUDA_VISIBLE_DEVICES.
  [[ -e $CLUSTER/gpu ]] || mknod "$CLUSTER/gpu" c 1 3
  echo "Name=gpu File=$CLUSTER/gpu" >"$CLUSTER/gres.conf"
  cat >"$CLUSTER/cgroup.conf" <<END
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
END
  printf '#!/bin/sh\necho unset PYTHONPATH\n' >"$CLUSTER/task_prolog"
  chmod 755 "$CLUSTER/task_prolog"
  cat >"$CLUSTER/slurm.conf" <<END
ClusterName=tests
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$CLUSTER/munge/socket
StateSaveLocation=$CLUSTER/state
SlurmdSpoolDir=$CLUSTER/spool-%n
SlurmctldPidFile=$CLUSTER/slurmctld.pid
SlurmdPidFile=$CLUSTER/%n.pid
SlurmctldLogFile=$CLUSTER/log/slurmctld
SlurmdLogFile=$CLUSTER/log/%n
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# Nodes are on one machine and claim more than it has.
SlurmdParameters=config_overrides
# Accidents are noticed in seconds.
SlurmdTimeout=10
KillWait=2
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0
# A node that comes back is used again.
ReturnToService=2
# As at sites whose jobs do not inherit the environment of the submission.
TaskProlog=$CLUSTER/task_prolog
NodeName=node[1-4] NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=[17001-17004] CPUs=8 RealMemory=256000 Gres=gpu:1
PartitionName=cpu Nodes=ALL Default=YES LLN=YES
PartitionName=gpu Nodes=ALL LLN=YES
END
  mkdir -p $etc
  ln -sf "$CLUSTER"/{slurm,gres,cgroup}.conf $etc/
  slurmctld
fi
wait_for slurmctld scontrol ping
# Each node keeps to one of the machine's CPUs, so that jobs see as many as they can use. (Where OMP_NUM_THREADS is
# set, nproc prints that.)
cpus=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
for n in "${!nodes[@]}"; do
  alive "${nodes[n]}" || taskset --cpu-list $((n % cpus)) slurmd -N "${nodes[n]}"
done
ready() { (($(sinfo --noheader --Node --partition cpu --states idle,mixed,allocated | wc -l) == ${#nodes[@]})); }
wait_for "the nodes" ready
sinfo
