#!/bin/sh
# Makes a 4 MiB binary that is the same on every machine: make-sample.sh FILE
set -eu
file=$1
size=4194304

if [ -f "$file" ] && [ "$(wc -c <"$file")" -eq "$size" ]; then
    exit 0
fi
# Park and Miller's generator (CACM 31, 1988), whose products fit awk's numbers; three bytes of each state, never NUL.
LC_ALL=C awk -v size="$size" 'BEGIN {
    for (i = 1; i < 256; i++) byte[i - 1] = sprintf("%c", i)
    state = 5106
    for (made = 0; made < size; made++) {
        if (made % 3 == 0) { state = state * 16807 % 2147483647; rest = int(state / 128) }
        printf "%s", byte[rest % 255]
        rest = int(rest / 255)
    }
}' >"$file.new"
mv "$file.new" "$file"
