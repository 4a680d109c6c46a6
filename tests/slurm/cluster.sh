#!/usr/bin/env bash
# A disposable Slurm cluster of four nodes on this machine, for tests: real daemons, in a folder of their own.
#   cluster.sh up | status | env | down [--keep-logs]
#   cluster.sh kill-node NODE | kill-slurmd NODE | blind-node NODE FOLDER | start-node NODE
#   cluster.sh stop-controller | start-controller
# The folder is build/slurm, or $SLURM_CLUSTER_DIR. In a shell: eval "$(tests/slurm/cluster.sh env)"
set -euo pipefail

here=$(realpath "$(dirname "$0")")
folder=$(realpath -m "${SLURM_CLUSTER_DIR:-$here/../../build/slurm}")
nodes=(n1 n2 n3 n4)
export SLURM_CONF=$folder/slurm.conf
PATH=$PATH:/usr/sbin:/sbin # where the daemons are; a user's PATH may lack them

report() { echo "slurm: $*" >&2; }

wait_for() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

install_packages() {
    command -v munged slurmctld slurmd sbatch | wc -l | grep -qx 4 && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        report "Slurm is not installed; run as root on Debian to install it, or install the packages slurm-wlm and munge"
        exit 1
    fi
    if [ ! -e /usr/sbin/policy-rc.d ]; then # keeps Debian from starting services
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge > /dev/null
}

free_ports() { # the first of five consecutive ports, below those of outgoing connections
    local first port
    while first=$((20000 + RANDOM % 10000)); do
        for port in $(seq $first $((first + 4))); do
            (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null && continue 2
        done
        echo $first && return
    done
}

configure() {
    local host port address listen=NoInAddrAny,NoCtldInAddrAny
    host=$(hostname -s) port=$(free_ports)
    # Daemons listen on the address of the host's name only, unless it is not a loopback address.
    address=$(getent ahostsv4 "$host" | awk 'NR == 1 {print $1}') || true
    [[ $address == 127.* ]] || { address=127.0.0.1 listen=; }
    mkdir -p "$folder"/{state,spool}
    (umask 077 && head -c 1024 /dev/urandom > "$folder/munge.key")
    ln -s /dev/null "$folder/gpu0" # Slurm numbers devices by their file names and never opens them
    ln -s /dev/zero "$folder/gpu1"
    echo "Name=gpu File=$folder/gpu[0-1]" > "$folder/gres.conf"
    sed -e "s|@folder@|$folder|; s|@user@|$(id -un)|; s|@listen@|$listen|; s|@host@|$host|; s|@address@|$address|" \
        -e "s|@port@|$port|; s|@node_ports@|[$((port + 1))-$((port + 4))]|" "$here/slurm.conf.in" > "$SLURM_CONF"
}

pid_of() { # NAME: of a running daemon of this cluster; a pid file may be outdated, its pid another program's
    local pid
    pid=$(cat "$folder/$1.pid") && tr '\0' ' ' < "/proc/$pid/cmdline" | grep -qF "$folder/" && echo "$pid"
} 2> /dev/null

has_ended() { ! grep -q . "/proc/$1/cmdline"; } # a zombie has none; the init process of a container may not reap

start() { # NAME COMMAND...
    local name=$1 fd
    shift
    ! pid_of "$name" > /dev/null || return 0
    (
        for fd in /proc/self/fd/*; do # a daemon must not inherit the caller's open files, such as a lock
            fd=${fd##*/}
            [ "$fd" -lt 3 ] || exec {fd}>&-
        done
        cd "$folder" && exec "$@"
    ) < /dev/null > "$folder/$name.out" 2>&1 || give_up "$name"
    wait_for 30 pid_of "$name" || give_up "$name"
}

stop() { # NAME [SIGNAL]
    local pid
    pid=$(pid_of "$1") || return 0
    kill -s "${2:-TERM}" "$pid"
    wait_for 10 has_ended "$pid" || kill -s KILL "$pid"
}

start_controller() { start slurmctld slurmctld -f "$SLURM_CONF"; }
start_node() { start "slurmd-$1" slurmd -N "$1" -f "$SLURM_CONF"; }

give_up() { # NAME
    report "$1 did not start"
    tail -n 15 "$folder/$1.out" "$folder/$1.log" >&2 || true
    down
    exit 1
}

all_up() { # checks the daemons first, since Slurm notices a missing node only after a while
    local daemon
    for daemon in munged slurmctld "${nodes[@]/#/slurmd-}"; do
        pid_of "$daemon" > /dev/null || { report "$daemon is not running" && return 1; }
    done
    [ "$(timeout 5 sinfo -hN -p low -o %T | grep -cxE '(idle|mixed|allocated|completing|planned)[+]?')" = ${#nodes[@]} ]
}

no_jobs() { [ -z "$(timeout 5 squeue -h)" ]; }

job_processes() { # [NODE]: slurmstepd has its node's log open, and its children have the node in their environment
    local process
    for process in /proc/[0-9]*; do
        if [ "$(cat "$process/comm")" = slurmstepd ]; then
            readlink "$process"/fd/* | grep -qF "$folder/slurmd-${1:-}" || continue
        else
            grep -qzxF "SLURM_CONF=$SLURM_CONF" "$process/environ" || continue
            grep -qzx "SLURMD_NODENAME=${1:-.*}" "$process/environ" || continue
        fi
        echo "${process##*/}"
    done 2> /dev/null
}

kill_jobs() { job_processes "$@" | xargs -r kill -s KILL 2> /dev/null || true; } # some may have ended already

up() {
    ! all_up 2> /dev/null || { report "already up in $folder" && return; }
    install_packages
    [ -e "$SLURM_CONF" ] || configure
    start munged munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
    start_controller
    for node in "${nodes[@]}"; do start_node "$node"; done
    timeout 5 scontrol update NodeName=ALL State=RESUME 2> /dev/null || true # drained nodes
    wait_for 60 all_up || give_up slurmctld
    report "${#nodes[@]} nodes are up in $folder"
}

down() { # [--keep-logs]
    if pid_of slurmctld > /dev/null && timeout 5 squeue -h -o %A | xargs -r timeout 5 scancel; then
        wait_for 10 no_jobs || true
    fi
    for daemon in "${nodes[@]/#/slurmd-}" slurmctld; do stop "$daemon"; done
    kill_jobs
    stop munged
    [ "${1:-}" != --keep-logs ] || { mkdir -p "$folder-logs" && mv "$folder"/*.log "$folder-logs"; }
    rm -rf "$folder"
}

case "${1:-}" in
    up) up ;;
    down) down "${2:-}" && report down ;;
    status) { [ ! -e "$SLURM_CONF" ] || timeout 5 sinfo -N || true; } && all_up ;;
    env) echo "export SLURM_CONF=$SLURM_CONF" ;;
    kill-node) stop "slurmd-$2" KILL && kill_jobs "$2" ;; # as in a power failure
    kill-slurmd) stop "slurmd-$2" KILL ;;                 # its jobs keep running, even when Slurm requeues them
    blind-node) # it sees an empty folder in place of this one
        stop "slurmd-$2"
        start "slurmd-$2" unshare --mount sh -c 'mount -t tmpfs blind "$0" && exec "$@"' "$3" \
            slurmd -N "$2" -f "$SLURM_CONF"
        ;;
    start-node) start_node "$2" ;;
    stop-controller) stop slurmctld ;;
    start-controller) start_controller ;;
    *) sed -n '2,6s/^# //p' "$0" && exit 2 ;;
esac
