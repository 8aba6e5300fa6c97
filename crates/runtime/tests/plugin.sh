#!/bin/sh
# A plugin for tests, called by its symbolic link: what it is handed goes into files beside the link, and what it
# answers comes from there.
#   log              one line a call, from all plugins of the directory: name, verb, container ID
#   NAME.VERB.env    the CNI_ variables of the last such call
#   NAME.VERB.stdin  its config
#   NAME.VERB        if it is there, printed as the answer
#   NAME.VERB.fails  if it is there, the exit status is 1
base=$0.$CNI_COMMAND
echo "${0##*/} $CNI_COMMAND $CNI_CONTAINERID" >> "${0%/*}/log"
env | grep '^CNI_' | sort > "$base.env"
cat > "$base.stdin"
[ ! -e "$base" ] || cat "$base"
[ ! -e "$base.fails" ]
