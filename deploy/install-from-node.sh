#!/bin/sh
# Renders a network config from this node's podCIDRs, which the API server knows, and installs it with the plugins.
#   NODE_NAME   the node (the downward API's spec.nodeName)
#   TEMPLATE    a config with @RANGES@ and @ROUTES@ where the ranges and the default routes belong
#   Arguments go to `podlink install`.
set -eu

fail() { echo "install-from-node: $*" >&2; exit 1; }

account=${SERVICE_ACCOUNT_DIR:-/var/run/secrets/kubernetes.io/serviceaccount}
[ -n "${NODE_NAME:-}" ] || fail "NODE_NAME is not set: give the container the field spec.nodeName"
[ -r "$account/token" ] || fail "no token in $account: the pod needs the service account podlink, with its token mounted"

host=${KUBERNETES_SERVICE_HOST:?is not set: this has to run in a pod}
case $host in *:*) host="[$host]" ;; esac
url=https://$host:${KUBERNETES_SERVICE_PORT:-443}/api/v1/nodes/$NODE_NAME
# The token is read by curl itself: on a command line every process of the node could see it.
node=$(printf 'header = "Authorization: Bearer %s"\n' "$(cat "$account/token")" |
  curl --config - --silent --show-error --fail --max-time 30 --cacert "$account/ca.crt" "$url") ||
  fail "the API server does not give $url (see curl's error above; 403: the ClusterRoleBinding is missing)"

cidrs=$(printf %s "$node" | tr -d ' \n\t' | sed -n 's/.*"podCIDRs":\[\([^]]*\)\].*/\1/p' | tr -d '"' | tr ',' ' ')
[ -n "$cidrs" ] || fail "node $NODE_NAME has no spec.podCIDRs yet: does the controller manager run with --allocate-node-cidrs?"

ranges= routes=
for cidr in $cidrs; do
  case $cidr in
    *[!0-9a-f.:/]*) fail "node $NODE_NAME has the podCIDR '$cidr', which is none" ;;
    *:*/*) route=::/0 ;;
    *.*/*) route=0.0.0.0/0 ;;
    *) fail "node $NODE_NAME has the podCIDR '$cidr', which is none" ;;
  esac
  ranges="$ranges${ranges:+, }[{ \"subnet\": \"$cidr\" }]"
  routes="$routes${routes:+, }{ \"dst\": \"$route\" }"
done

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
conf=$work/${CONF_NAME:-10-podlink.conflist}
sed -e "s|@RANGES@|$ranges|" -e "s|@ROUTES@|$routes|" "${TEMPLATE:?is not set}" >"$conf"
podlink install "$@" --conf "$conf"
echo "install-from-node: the pods of $NODE_NAME get addresses of $cidrs"
