#!/usr/bin/env bash
# A pod network to look at and to play with, and all of podlink's tests. Nothing of it touches this machine's own network.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: scripts/netns-harness.sh COMMAND

  demo [CONFLIST]    wire two pods through a conflist of conf-examples, show who is connected to what, ping, clean up
  cluster            Kubernetes over our pods, on three nodes that are namespaces: a line for each scenario (docs/README.md explains them)
  test               everything that CI runs: format, lints, unit tests, end-to-end tests with real runtimes
  up POD             make a pod on a node of its own (the node comes with its first pod)
  exec POD CMD...    run a command in the pod; `exec node CMD...` runs it on the node
  down POD           remove the pod (the node goes with its last pod)

As root it uses plain namespaces, otherwise user namespaces (unshare -Urnm) where the kernel allows them.
PODLINK_BIN_DIR names a directory with built plugins and cnitool to use in place of building them.
EOF
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=${XDG_RUNTIME_DIR:-/tmp}/podlink-harness-$(id -u)
example=10-containerd.conflist
. "$root/scripts/rust.sh"

die() { echo "netns-harness: $*" >&2; exit 1; }

install_packages() {
  local apt=(apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o APT::Update::Error-Mode=any)
  "${apt[@]}" update >/dev/null &&
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE ...: installs the packages whose command is missing, or names them.
need() {
  local packages=()
  while (($#)); do
    command -v "$1" >/dev/null || [ -e "$1" ] || packages+=("$2")
    shift 2
  done
  ((${#packages[@]})) || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${packages[*]} ..."
    retry install_packages "${packages[@]}" ||
      die "apt-get could not install: ${packages[*]}"
  else
    die "please install: ${packages[*]}"
  fi
}

# Sets bins to the directory of the plugins and cnitool.
build() {
  bins=${PODLINK_BIN_DIR:-}
  [ -z "$bins" ] || return 0
  need_cargo
  need cc gcc ip iproute2 ping iputils-ping nsenter util-linux nft nftables
  echo "building the plugins and cnitool ..."
  bins=$(cargo build --manifest-path "$root/Cargo.toml" --quiet --message-format json --workspace --exclude podlink-tests --bins |
    sed -n 's/.*"executable":"\([^"]*\)\/bridge".*/\1/p')
  [ -n "$bins" ] || die "the build made no bridge plugin"
}

# The namespaces of a node: as root, or as root of a user namespace of one's own.
new_node() { if [ "$(id -u)" = 0 ]; then unshare -mn "$@"; else unshare -Urmn "$@"; fi; }

# What a fresh node needs, run inside: private places for namespaces and for the plugins' files.
prepare_node='
  mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/netns && mount -t tmpfs tmpfs /var/lib &&
  ip link set lo up'

# add|del POD, inside a node.
cni() { CNI_PATH=$bins NETCONFPATH=$root/conf-examples "$bins/cnitool" "$1" "$network" "/run/netns/$2"; }

network_of() { sed -n 's/^ *"name": "\(.*\)",$/\1/p' "$root/conf-examples/$1" | head -n 1; }

# ---- demo ----

demo() {
  local conflist=$1
  [ -f "$root/conf-examples/$conflist" ] || die "no such example: $conflist; there are: $(cd "$root/conf-examples" && echo *.conflist)"
  build
  network=$(network_of "$conflist")
  new_node env bins="$bins" network="$network" bash "${BASH_SOURCE[0]}" --inside-demo "$conflist"
}

# The addresses with a prefix length on the interfaces that `ip addr show` is asked for; arguments of ip before it: -n POD.
addresses() {
  local ip=(ip -o)
  [ "${1:-}" != -n ] || { ip+=(-n "$2"); shift 2; }
  "${ip[@]}" addr show "$@" scope global | awk '{print $4}'
}

picture() {
  local bridge port pod
  echo
  echo "  node"
  for bridge in $(ip -o link show type bridge | awk -F': ' '{print $2}'); do
    echo "  └─ $bridge " $(addresses dev "$bridge")
    for port in $(ip -o link show master "$bridge" | awk -F': ' '{sub("@.*", "", $2); print $2}'); do
      pod=$(ip -o link show dev "$port" | sed -n 's/.*link-netns \([^ \\]*\).*/\1/p')
      [ -z "$pod" ] || echo "     ├─ $port ══ eth0 in $pod " $(addresses -n "$pod" dev eth0)
    done
  done
  echo
}

reach() {
  local from=$1 to=$2 address=$3
  if [ "$from" = node ]; then set -- ping; else set -- ip netns exec "$from" ping; fi
  "$@" -n -q -c 1 -W 5 "$address" >/dev/null || die "$from does not reach $to at $address"
  printf '  %-6s → %-6s %-26s ok\n' "$from" "$to" "$address"
}

inside_demo() {
  local conflist=$1 name other address
  eval "$prepare_node"
  trap 'rc=$?; [ $rc = 0 ] || echo "the demo failed; its namespaces are gone with it" >&2' EXIT
  echo "network \"$network\" of conf-examples/$conflist"
  for name in pod-a pod-b; do
    ip netns add "$name"
    echo "\$ cnitool add $network /run/netns/$name"
    cni add "$name" >/run/"$name".json || die "cnitool add failed"
  done
  picture
  for name in pod-a pod-b; do
    [ $name = pod-a ] && other=pod-b || other=pod-a
    for address in $(addresses -n $other dev eth0); do reach $name $other "${address%/*}"; done
    for address in $(addresses); do reach $name node "${address%/*}"; done
    for address in $(addresses -n $name dev eth0); do reach node $name "${address%/*}"; done
  done
  echo
  for name in pod-a pod-b; do
    echo "\$ cnitool check $network /run/netns/$name; cnitool del $network /run/netns/$name"
    cni check $name || die "cnitool check failed"
    cni del $name || die "cnitool del failed"
  done
  echo
  local veths held
  veths=$(ip -o link show type veth | wc -l)
  held=$(find /var/lib/cni -type f -name '*[.:]*' ! -name 'last_reserved_ip.*' 2>/dev/null | wc -l)
  echo "  left: $veths veth interfaces, $held reserved addresses, $(find /var/lib/cni/results -type f 2>/dev/null | wc -l) cached results"
  [ "$veths" = 0 ] && [ "$held" = 0 ] || die "the pods are gone and something of them is left"
}

# ---- up, exec, down ----

# Runs a command on the node of up/exec/down.
on_node() {
  local user=()
  [ "$(id -u)" = 0 ] || user=(-U --preserve-credentials)
  nsenter -t "$(cat "$state/node")" "${user[@]}" -m -n "$@"
}

# The file names the node's process and its network namespace: a process ID alone may be another's by now.
node_is_up() {
  [ -O "$state" ] && [ -f "$state/node" ] || return 1
  [ "$(readlink "/proc/$(cat "$state/node")/ns/net" 2>/dev/null)" = "$(cat "$state/namespace")" ]
}

up() {
  local name=$1
  build
  mkdir -p -m 700 "$state"
  if ! node_is_up; then
    [ -O "$state" ] || die "$state belongs to somebody else"
    rm -f "$state"/*
    # The sleeping process is the node: its namespaces live as long as it does. It says its ID when it is ready.
    local node_pid ready
    exec {ready}< <(new_node bash -c "$prepare_node"' && echo $$ && exec sleep infinity >/dev/null' </dev/null)
    read -r node_pid <&"$ready" || die "no namespaces can be made here"
    exec {ready}<&-
    readlink "/proc/$node_pid/ns/net" >"$state/namespace"
    echo "$node_pid" >"$state/node"
  fi
  network=$(network_of "$example")
  on_node ip netns add "$name" || die "pod $name exists already, or its name is none"
  on_node env CNI_PATH="$bins" NETCONFPATH="$root/conf-examples" "$bins/cnitool" add "$network" "/run/netns/$name"
  echo "try: scripts/netns-harness.sh exec $name ip addr"
}

down() {
  local name=$1
  node_is_up || die "no pod is up"
  build
  network=$(network_of "$example")
  on_node env CNI_PATH="$bins" NETCONFPATH="$root/conf-examples" "$bins/cnitool" del "$network" "/run/netns/$name"
  on_node ip netns del "$name" || die "there is no pod $name"
  if [ -z "$(on_node ip netns list)" ]; then
    kill "$(cat "$state/node")"
    rm -r "$state"
    echo "that was the last pod; the node is gone, too"
  fi
}

run_in() {
  local name=$1
  shift
  node_is_up || die "no pod is up; scripts/netns-harness.sh up $name makes one"
  if [ "$name" = node ]; then on_node "$@"; else on_node ip netns exec "$name" "$@"; fi
}

# ---- cluster ----

run_cluster() {
  need_cargo
  need cc gcc ip iproute2 ping iputils-ping nsenter util-linux kmod kmod busybox busybox-static nft nftables iptables-restore iptables \
    curl curl openssl openssl dnsmasq dnsmasq-base nginx nginx-light /usr/lib/cni/bridge containernetworking-plugins
  # As kubeadm asks for; without it the test says so.
  [ -e /proc/sys/net/bridge ] || modprobe br_netfilter 2>/dev/null || true
  cd "$root"
  [ -n "${PODLINK_BIN_DIR:-}" ] || { echo "building the plugins and cnitool ..."; cargo build --workspace --exclude podlink-tests --bins --quiet; }
  echo "building the scenarios ..."
  cargo test -p podlink-tests --test cluster --no-run --quiet
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  local status=0 user=() skips=()
  if [ "$(id -u)" != 0 ]; then
    # dnsmasq and nginx want to change to other users, which a user namespace of one's own does not have.
    user=(unshare -Urnm)
    skips=(--skip dns:: --skip ingress:: --skip page_on_dns --skip page_on_ingress)
    echo "skipped: DNS and Ingress (they need to be run as root)"
  fi
  "${user[@]}" cargo test -p podlink-tests --test cluster -- "${skips[@]}" 2>&1 | tee "$log" | awk '
    /^test .* \.\.\. (ok|FAILED)$/ {
      sentence = $2
      gsub("::", ": ", sentence)
      gsub("_", " ", sentence)
      printf "%-7s %s\n", $NF, sentence
      fflush()
    }' || status=$?
  [ "$status" = 0 ] || { cat "$log"; return 1; }
  sed -n 's/^test result: ok. \([0-9]* passed\).*finished in \(.*\)$/\1 in \2/p' "$log"
}

# ---- test ----

run_tests() {
  local skips=()
  need_cargo
  need cc gcc ip iproute2 ping iputils-ping nsenter util-linux kmod kmod busybox busybox-static tcpdump tcpdump strace strace \
    nft nftables iptables-restore iptables dbus-daemon dbus-daemon linux.uml user-mode-linux containerd containerd runc runc podman podman conmon conmon curl curl openssl openssl dnsmasq dnsmasq-base nginx nginx-light /usr/lib/cni/bridge containernetworking-plugins
  cd "$root"
  cargo fmt --all --check
  cargo clippy --workspace --all-targets --quiet -- -D warnings
  cargo build --workspace --bins --quiet
  # Not local: it is removed when the function is long over.
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if [ "$(id -u)" = 0 ]; then
    set -- cargo test --workspace --no-fail-fast
  else
    # The runtimes want to be real root; everything else is content with a user namespace.
    skips=(containerd podman dnsmasq nginx)
    set -- unshare -Urmn cargo test --workspace --no-fail-fast -- --skip containerd --skip podman \
      --skip dns:: --skip ingress:: --skip page_on_dns --skip page_on_ingress
  fi
  local status=0
  "$@" 2>&1 | tee "$log" || status=$?
  local passed failed ignored
  read -r passed failed ignored < <(awk '/^test result:/ {p += $4; f += $6; i += $8} END {print p + 0, f + 0, i + 0}' "$log")
  for name in "${skips[@]}"; do echo "skipped: the tests with $name (they need to be run as root)"; done
  echo "$passed passed, $failed failed, $((ignored + ${#skips[@]})) skipped"
  [ "$status" = 0 ] && [ "$failed" = 0 ] && [ "$passed" != 0 ]
}

case ${1:-} in
  demo) demo "${2:-$example}" ;;
  --inside-demo) inside_demo "$2" ;;
  cluster) run_cluster ;;
  test) run_tests ;;
  up | down) [ $# = 2 ] || { usage >&2; exit 2; }; "$1" "$2" ;;
  exec) [ $# -ge 3 ] || { usage >&2; exit 2; }; run_in "${@:2}" ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac
