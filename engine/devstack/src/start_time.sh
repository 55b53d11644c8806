# For rm, sleep and ps, should our program have been started with a bare environment.
PATH=${PATH:+$PATH:}/usr/bin:/bin

# Prints what tells process $1 from a later one with the same id: its start time.
# Fails when the process is gone or a zombie.
start_time() {
    if [ -r /proc/self/stat ]; then
        read -r stat 2>/dev/null </proc/"$1"/stat || return 1
        # The name in parentheses may hold anything; after it come state (field 3) and, 19 further, the start time.
        set -- ${stat##*) }
        case $1 in Z | X) return 1 ;; esac
        echo "${20}"
    else
        set -- $(ps -o stat= -o lstart= -p "$1" 2>/dev/null)
        case ${1:-Z} in Z*) return 1 ;; esac
        shift
        echo "$*" | tr ' ' _
    fi
}
