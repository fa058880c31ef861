#!/bin/sh
# Waits until standard input ends, then kills what it was told of; see undertaker.py. Arguments: what the names of the
# agent's control groups begin with. A line "+ PID" or "- PID" tells of a process group, "." that all is well.
trap '' INT TERM HUP
groups=
while read -r sign pid; do
    case $sign in
        +) groups="$groups $pid" ;;
        -) kept=
           for one in $groups; do [ "$one" = "$pid" ] || kept="$kept $one"; done
           groups=$kept ;;
        .) exit 0 ;;
    esac
done
for one in $groups; do kill -s KILL -- "-$one"; done
found=
for prefix in "$@"; do
    for place in "$prefix"*; do
        [ -d "$place" ] || continue
        found=yes
        if [ -w "$place/cgroup.kill" ]; then echo 1 >"$place/cgroup.kill"; fi
        for _ in 1 2 3 4 5; do
            while read -r pid; do kill -s KILL "$pid"; done <"$place/cgroup.procs"
        done
    done
done
[ "$found" ] || exit 0
for _ in 1 2 3 4 5; do
    sleep 0.1
    left=
    for prefix in "$@"; do
        for place in "$prefix"*; do
            if [ -d "$place" ]; then rmdir "$place" || left=yes; fi
        done
    done
    [ "$left" ] || exit 0
done
