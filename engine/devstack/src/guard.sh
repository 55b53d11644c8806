# Follows start_time.sh. Reads orders until the end of file, which comes when our program is gone, however it went:
#   watch <pid> <start_time> <signal>   a server, and the signal that stops it in order
#   remove <directory>             an ephemeral directory, if it holds our marker file $1
# Then stops what is watched and still alive, and removes the directory.
trap '' HUP INT QUIT TERM PIPE
set -f
watched=
remove=
while IFS= read -r order; do
    case $order in
        "watch "*)
            set -- "$1" ${order#watch }
            watched="$watched $2@$3@$4"
            ;;
        "remove "*) remove=${order#remove } ;;
    esac
done

forget_dead() {
    living=
    for entry in $watched; do
        rest=${entry#*@}
        [ "$(start_time "${entry%%@*}")" = "${rest%%@*}" ] && living="$living $entry"
    done
    watched=$living
}
signal() {
    forget_dead
    for entry in $watched; do
        kill -s "${1:-${entry##*@}}" "${entry%%@*}" 2>/dev/null
    done
}
await() {
    turns=$1
    forget_dead
    while [ -n "$watched" ] && [ "$turns" -gt 0 ]; do
        sleep 0.05
        turns=$((turns - 1))
        forget_dead
    done
}
signal
await 100
signal QUIT
await 40
signal KILL
await 40

if [ -n "$remove" ]; then
    if [ -f "$remove/$1" ]; then
        # A backend whose postmaster was killed may write one last file.
        rm -rf -- "$remove" 2>/dev/null || { sleep 0.5; rm -rf -- "$remove" 2>/dev/null; }
    else
        rmdir -- "$remove" 2>/dev/null
    fi
fi
