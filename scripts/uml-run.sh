#!/bin/bash
# Runs one command as root inside a user-mode-linux machine that sees this machine's files, and passes its output and
# exit status on. For what this machine's kernel cannot do (bridge VLAN filtering). Needs root and the Debian packages
# user-mode-linux, kmod and util-linux.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: uml-run.sh [--module NAME]... [--deadline SECONDS] [--memory MB] -- COMMAND [ARG...]

Inside, /run and $TMPDIR are empty and in memory; every other file is this machine's own. Variables whose name starts
with PODLINK_ or RUST_ are passed on. Exit status: COMMAND's, 124 when the deadline (240 s) passed, 125 when the machine
did not boot.
EOF
}

die() {
    echo "uml-run.sh: $*" >&2
    exit 125
}

modules=()
deadline=240
memory=512
while [ $# -gt 0 ]; do
    case $1 in
        --module) modules+=("$2"); shift 2 ;;
        --deadline) deadline=$2; shift 2 ;;
        --memory) memory=$2; shift 2 ;;
        --help) usage; exit 0 ;;
        --) shift; break ;;
        *) usage >&2; exit 125 ;;
    esac
done
[ $# -gt 0 ] || { usage >&2; exit 125; }
[ "$(id -u)" = 0 ] || die "needs root"
command -v linux.uml >/dev/null || die "no linux.uml: apt-get install user-mode-linux"
command -v modprobe >/dev/null || die "no modprobe: apt-get install kmod"

dir=$(mktemp -d -t podlink-uml-XXXXXX)
machine=
clean() {
    if [ -n "$machine" ]; then kill -KILL "$machine" 2>/dev/null || true; fi
    rm -rf "$dir"
}
trap clean EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# A copy without the setuid bit: in a user namespace the file belongs to nobody, and inside would run as nobody.
install -m 755 "$(command -v mount)" "$dir/mount"
{
    cat <<EOF
#!/bin/bash
exec </dev/null >$(printf %q "$dir/stdout") 2>$(printf %q "$dir/stderr")
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/mnt
$(printf %q "$dir/mount") -o remount,nosuid /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /mnt
mkdir -p /run/modules/lib
ln -s /usr/lib/uml/modules /run/modules/lib/modules
EOF
    for name in ${modules[@]+"${modules[@]}"}; do
        printf 'modprobe -d /run/modules %q\n' "$name"
    done
    while read -r variable; do
        printf 'export %s=%q\n' "$variable" "${!variable}"
    done < <(compgen -e | grep -E '^(PODLINK|RUST)_' || true)
    printf '(cd %q && %s)\n' "$PWD" "$(printf '%q ' "$@")"
    printf 'echo $? >%q\n' "$dir/status"
    echo 'echo o >/proc/sysrq-trigger'
    echo 'sleep 60'
} >"$dir/init"
chmod +x "$dir/init"

# A PID namespace: when the deadline ends the machine, or when this script is killed, every process of it ends.
booted=0
setpriv --pdeathsig KILL unshare --pid --fork --kill-child=KILL --mount-proc timeout -k 2 "$deadline" \
    linux.uml mem="${memory}M" root=/dev/root rootfstype=hostfs rootflags=/ rw init="$dir/init" \
    con=null con0=null,fd:1 umid=podlink uml_dir="$dir/" </dev/null >"$dir/console" 2>&1 &
machine=$!
wait "$machine" || booted=$?
machine=

[ ! -e "$dir/stdout" ] || cat "$dir/stdout"
[ ! -e "$dir/stderr" ] || cat "$dir/stderr" >&2
if [ -s "$dir/status" ]; then
    exit "$(cat "$dir/status")"
fi
{
    echo "uml-run.sh: no exit status from inside; the machine's console:"
    cat "$dir/console"
} >&2
case $booted in
    124 | 137) exit 124 ;;
    *) exit 125 ;;
esac
