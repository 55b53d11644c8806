# Follows start_time.sh. Stops process $1 and its children with SIGSTOP, says "paused", and lets them go on
#   after $2 tenths of a second, or
#   once process $3 has gone, whose start time is $4, or
#   at SIGTERM.
# A Postgres has a process for each connection, and the postmaster starts no others while it is stopped.
turns=$2
trap 'turns=0' TERM
trap '' HUP INT QUIT PIPE
signalled=$(start_time "$1") || exit 1

children() {
    if [ -r /proc/self/stat ]; then
        for each in /proc/[0-9]*/stat; do
            read -r stat 2>/dev/null <"$each" || continue
            child=${each#/proc/}
            set -- "$1" ${stat##*) }
            [ "$3" = "$1" ] && echo "${child%/stat}"
        done
    else
        ps -A -o pid= -o ppid= | while read -r child parent; do
            [ "$parent" = "$1" ] && echo "$child"
        done
    fi
}

# Succeeds once process $1 has stopped, or is gone.
has_stopped() {
    if [ -r /proc/self/stat ]; then
        read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
        set -- ${stat##*) }
    else
        set -- $(ps -o stat= -p "$1" 2>/dev/null)
    fi
    case ${1:-Z} in [TtZX]*) return 0 ;; *) return 1 ;; esac
}

kill -s STOP "$1" || exit 1
# It stops a moment later, and may have started another child by then.
tries=100
until has_stopped "$1" || [ "$tries" -eq 0 ]; do
    sleep 0.01
    tries=$((tries - 1))
done
for child in $(children "$1"); do
    kill -s STOP "$child" 2>/dev/null
done
echo paused
while [ "$turns" -gt 0 ] && [ "$(start_time "$3")" = "$4" ]; do
    sleep 0.1
    turns=$((turns - 1))
done
# Children first: while their parent is stopped, their ids belong to nobody else.
if [ "$(start_time "$1")" = "$signalled" ]; then
    for child in $(children "$1"); do
        kill -s CONT "$child" 2>/dev/null
    done
    kill -s CONT "$1" 2>/dev/null
fi
