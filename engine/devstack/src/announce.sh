# Follows start_time.sh. Announces itself to the guard, whose pipe is our standard input, then becomes the server.
# The pipe stays open until then, so the guard cannot meet its end before it knows of us.
set -f
printf 'watch %s %s %s\n' "$$" "$(start_time "$$")" "$1" >&0 || exit 125
shift
exec "$@" </dev/null
